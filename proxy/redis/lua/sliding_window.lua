-- One exact check of a sliding window log, for several windows of one identity at once.
--
-- KEYS[i]  the log of window i; all of one identity, hence of one hash slot
-- ARGV     unit count lease_us force, then for each window: limit window_us resolution_us
--
-- `count` calls of `unit` each are asked for; as many are granted as fit into every window, and
-- exactly those are recorded. count = 0 only looks; force = '1' charges above the limit (debt).
-- Reply: granted, server time, then for each window: remaining, microseconds until the oldest
-- entry leaves (0: none), microseconds until one more unit fits (0: it does, -1: it never will).
--
-- A log is a sorted set. Score: server time in microseconds. Member: the running total of all
-- units so far, with ":cost" behind it where the cost is not 1. What is in the window is then
-- last total - (first total - first cost), without counting members, and two calls in the same
-- microsecond can't share a member. Scores strictly increase: Redis would order equal scores by
-- text ("10" before "9"). Works from Redis 5 on; TIME before writes needs effects replication,
-- the default since then.

local call, floor, ceil = redis.call, math.floor, math.ceil
local unit, count, lease = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local force = ARGV[4] == '1'

local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2]

-- Lua prints large numbers with 14 digits; a time has 16.
local function whole(number) return string.format('%.0f', number) end

local function parse(member)
  local total = tonumber(member)
  if total then return total, 1 end
  local with_cost, cost = member:match('^(%d+):(%d+)$')
  return tonumber(with_cost), tonumber(cost)
end

-- First pass: what is in each window, and how many calls fit into all of them.
local logs, granted = {}, count
for i = 1, #KEYS do
  local at = 3 * i + 2
  local log = {
    key = KEYS[i], limit = tonumber(ARGV[at]), window = tonumber(ARGV[at + 1]),
    resolution = tonumber(ARGV[at + 2]), total = 0, used = 0, last_score = 0,
  }
  local first = call('ZRANGE', log.key, 0, 0, 'WITHSCORES')
  if first[1] and tonumber(first[2]) <= now - log.window then
    call('ZREMRANGEBYSCORE', log.key, '-inf', whole(now - log.window))
    first = call('ZRANGE', log.key, 0, 0, 'WITHSCORES')
  end
  if first[1] then
    local last = call('ZRANGE', log.key, -1, -1, 'WITHSCORES')
    local last_score = tonumber(last[2])
    if last_score > now + log.window + lease + log.resolution then
      call('DEL', log.key)  -- the clock went back by more than a window: start anew
    else
      local first_total, first_cost = parse(first[1])
      log.total, log.last_cost = parse(last[1])
      log.last_member, log.last_score = last[1], last_score
      log.first_score, log.first_cost = tonumber(first[2]), first_cost
      log.base = first_total - first_cost
      log.used = log.total - log.base
    end
  end
  if not force then
    granted = math.min(granted, floor((log.limit - log.used) / unit))
  end
  logs[i] = log
end
if granted < 0 then granted = 0 end

-- Second pass: record, and say how things stand.
local reply = {granted, now}
for i = 1, #KEYS do
  local log = logs[i]
  if granted > 0 then
    local cost, score, merged = granted * unit, now + lease, nil
    -- A coarse log rounds up: an entry may leave late, never early.
    if log.resolution > 1 then score = ceil(score / log.resolution) * log.resolution end
    if score <= log.last_score then
      if log.resolution > 1 then
        merged = log.last_member
        cost = cost + log.last_cost
        log.total = log.total - log.last_cost
        score = log.last_score
        if log.first_score == log.last_score then log.first_cost = cost end
      else
        score = log.last_score + 1
      end
    end
    log.total = log.total + cost
    local member = whole(log.total)
    if cost > 1 then member = member .. ':' .. whole(cost) end
    -- In this order: a set that becomes empty for a moment loses its time to live.
    call('ZADD', log.key, whole(score), member)
    if merged then call('ZREM', log.key, merged) end
    -- Once per window is enough: two windows and a second from there outlive every entry.
    if floor(score / log.window) ~= floor(log.last_score / log.window) then
      call('PEXPIRE', log.key, whole(ceil((score - now + 2 * log.window) / 1000) + 1000))
    end
    if not log.first_score then
      log.first_score, log.first_cost, log.base = score, cost, log.total - cost
    end
    log.used = log.total - log.base
  end

  local wait = 0
  local need = unit - (log.limit - log.used)  -- units that must leave before one more call fits
  if unit > log.limit then
    wait = -1
  elseif granted < count and need > 0 then
    local leaves = log.first_score
    if need > log.first_cost then
      -- Running totals are sorted: find the entry with which enough has left.
      local low, high = 1, call('ZCARD', log.key) - 1
      while low < high do
        local middle = floor((low + high) / 2)
        if parse(call('ZRANGE', log.key, middle, middle)[1]) - log.base >= need then
          high = middle
        else
          low = middle + 1
        end
      end
      leaves = tonumber(call('ZRANGE', log.key, low, low, 'WITHSCORES')[2])
    end
    wait = leaves + log.window - now
  end
  reply[#reply + 1] = log.limit - log.used
  reply[#reply + 1] = log.first_score and log.first_score + log.window - now or 0
  reply[#reply + 1] = wait
end
return reply
