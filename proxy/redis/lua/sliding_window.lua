-- One exact check of what limits an identity: sliding window logs, requests under way at once,
-- penalties. All of them have room, or nothing is charged.
--
-- KEYS[i]  the state of limit i; all of one call, hence of one hash slot
-- ARGV     count lease_us force token, then for each key four numbers:
--            a window:    unit limit window_us resolution_us (at least 1)
--            concurrency: unit limit hold_us 0    one slot for each call, given back by ZREM
--            a penalty:   watched duration_us 0 skipped: it watches that many windows, which
--                         stand before it and before `skipped` others
--
-- `count` calls are asked for; as many are granted as fit everywhere, and exactly those are
-- recorded. count = 0 only looks; force = '1' charges windows above the limit (debt).
-- Reply: granted, server time, then for each key: remaining, microseconds until the oldest entry
-- leaves (0: none), microseconds until one more call fits (0: it does, -1: it never will).
--
-- A log is a sorted set. Score: server time in microseconds. Member: the running total of all
-- units so far, with ":cost" behind it where the cost is not 1. What is in the window is then
-- last total - (first total - first cost), without counting members, and two calls in the same
-- microsecond can't share a member. Scores strictly increase: Redis would order equal scores by
-- text ("10" before "9"). Slots of concurrency are members "token:n" whose score is when they
-- expire, should nobody give them back. Works from Redis 5 on; TIME before writes needs effects
-- replication, the default since then.

local call, floor, ceil = redis.call, math.floor, math.ceil
local count, lease = tonumber(ARGV[1]), tonumber(ARGV[2])
local force, token = ARGV[3] == '1', ARGV[4]
local slot_wait = 1000000  -- nobody knows when a slot is given back

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

-- First pass: how things stand, and how many calls fit everywhere.
local logs, granted = {}, count
for i = 1, #KEYS do
  local at = 4 * i + 1
  local log = {
    key = KEYS[i], unit = tonumber(ARGV[at]), limit = tonumber(ARGV[at + 1]),
    window = tonumber(ARGV[at + 2]), resolution = tonumber(ARGV[at + 3]),
    total = 0, used = 0, last_score = 0,
  }
  if log.window == 0 then
    log.ends = tonumber(call('GET', log.key) or 0)
    -- A clock that went back must not make a penalty longer than it is.
    if log.ends > now + log.limit then log.ends = 0 end
    log.fits = log.ends > now and 0 or count
  elseif log.resolution == 0 then
    call('ZREMRANGEBYSCORE', log.key, '-inf', whole(now))
    log.used = call('ZCARD', log.key)
    log.fits = log.limit - log.used
  else
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
    log.fits = floor((log.limit - log.used) / log.unit)
  end
  if not force and log.fits < granted then granted = log.fits end
  logs[i] = log
end
if granted < 0 then granted = 0 end

-- Second pass: record, and say how things stand now.
local reply = {granted, now}
for i = 1, #KEYS do
  local log = logs[i]
  local remaining, reset, wait = 0, 0, 0
  if log.window == 0 then
    if log.ends <= now and not force then
      local last = i - 1 - log.resolution
      for j = last - log.unit + 1, last do
        if logs[j].fits < count then log.ends = now + log.limit end
      end
      if log.ends > now then
        call('SET', log.key, whole(log.ends), 'PX', whole(ceil(log.limit / 1000)))
      end
    end
    if log.ends > now then wait = log.ends - now end
  elseif log.resolution == 0 then
    if granted > 0 then
      for n = 1, granted do
        call('ZADD', log.key, whole(now + log.window), token .. ':' .. n)
      end
      call('PEXPIRE', log.key, whole(ceil(log.window / 1000) + 1000))
      log.used = log.used + granted
    end
    remaining = log.limit - log.used
    if log.fits < count then wait = slot_wait end
  else
    local unit = log.unit
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

    remaining = log.limit - log.used
    local need = unit - remaining  -- units that must leave before one more call fits
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
    if log.first_score then reset = log.first_score + log.window - now end
  end
  reply[#reply + 1] = remaining
  reply[#reply + 1] = reset
  reply[#reply + 1] = wait
end
return reply
