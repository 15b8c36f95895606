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

-- It runs on the one core that all instances share, hence its form: no closures, no tables but for
-- calls of several keys, and text becomes a number by arithmetic, which calls no function. Redis
-- writes a number among the arguments of a call with 17 digits, Lua would with 14: a time has 16.

local call, tonumber = redis.call, tonumber
local KEYS, ARGV = KEYS, ARGV
local count, lease, force = ARGV[1] + 0, ARGV[2] + 0, ARGV[3] == '1'

local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2]

-- What is known of the key at hand; of several keys the first pass leaves it in `known`.
local key, unit, limit, window, resolution
local fits, used            -- calls, units
local ends                  -- of a penalty
local total, last_score, last_member, last_cost, first_score, first_cost  -- of a log
local known = #KEYS > 1 and {}

-- First pass: how things stand, and how many calls fit everywhere.
local granted = count
for i = 1, #KEYS do
  local at = 4 * i
  key, unit, limit = KEYS[i], ARGV[at + 1] + 0, ARGV[at + 2] + 0
  window, resolution = ARGV[at + 3] + 0, ARGV[at + 4] + 0
  used, ends = 0, 0
  total, last_score, last_member, last_cost, first_score, first_cost = 0, 0, false, 0, false, 0
  if window == 0 then
    ends = (call('GET', key) or 0) + 0
    -- A clock that went back must not make a penalty longer than it is.
    if ends > now + limit then ends = 0 end
    fits = ends > now and 0 or count
  elseif resolution == 0 then
    call('ZREMRANGEBYSCORE', key, '-inf', now)
    used = call('ZCARD', key)
    fits = limit - used
  else
    local first = call('ZRANGE', key, '0', '0', 'WITHSCORES')
    first_score = first[2] and first[2] + 0
    if first_score and first_score <= now - window then
      call('ZREMRANGEBYSCORE', key, '-inf', now - window)
      first = call('ZRANGE', key, '0', '0', 'WITHSCORES')
      first_score = first[2] and first[2] + 0
    end
    if first_score then
      local last = call('ZRANGE', key, '-1', '-1', 'WITHSCORES')
      last_score = last[2] + 0
      if last_score > now + window + lease + resolution then
        call('DEL', key)  -- the clock went back by more than a window: start anew
        last_score, first_score = 0, false
      else
        first_cost, last_cost, last_member = 1, 1, last[1]
        local first_total = tonumber(first[1])
        if not first_total then first_total, first_cost = first[1]:match('^(%d+):(%d+)$') end
        total = tonumber(last_member)
        if not total then total, last_cost = last_member:match('^(%d+):(%d+)$') end
        used = total - first_total + first_cost
      end
    end
    fits = (limit - used) / unit
    fits = fits - fits % 1
  end
  if fits < granted and not force then granted = fits > 0 and fits or 0 end
  if known then
    known[i] = {
      key, unit, limit, window, resolution, fits, used, ends,
      total, last_score, last_member, last_cost, first_score, first_cost,
    }
  end
end

-- Second pass: record, and say how things stand now.
local reply = known and {granted, now}
for i = 1, #KEYS do
  if known then
    key, unit, limit, window, resolution, fits, used, ends,
    total, last_score, last_member, last_cost, first_score, first_cost = unpack(known[i])
  end
  local remaining, reset, wait = 0, 0, 0
  if window == 0 then
    if ends <= now and not force then
      local last = i - 1 - resolution
      for j = last - unit + 1, last do
        if known[j][6] < count then ends = now + limit end
      end
      if ends > now then call('SET', key, ends, 'PX', math.ceil(limit / 1000)) end
    end
    if ends > now then wait = ends - now end
  elseif resolution == 0 then
    if granted > 0 then
      for n = 1, granted do
        call('ZADD', key, now + window, ARGV[4] .. ':' .. n)
      end
      call('PEXPIRE', key, math.ceil(window / 1000) + 1000)
      used = used + granted
    end
    remaining = limit - used
    if fits < count then wait = 1000000 end  -- nobody knows when a slot is given back
  else
    if granted > 0 then
      local cost, score, merged = granted * unit, now + lease, false
      used = used + cost
      -- A coarse log rounds up: an entry may leave late, never early.
      if resolution > 1 then score = score + -score % resolution end
      if score <= last_score then
        if resolution > 1 then
          merged = last_member
          cost = cost + last_cost
          total = total - last_cost
          score = last_score
          if first_score == last_score then first_cost = cost end
        else
          score = last_score + 1
        end
      end
      total = total + cost
      local member = cost == 1 and total or string.format('%.0f:%.0f', total, cost)
      -- In this order: a set that becomes empty for a moment loses its time to live.
      call('ZADD', key, score, member)
      if merged then call('ZREM', key, merged) end
      -- Once per window is enough: two windows and a second from there outlive every entry.
      if last_score < score - score % window then
        call('PEXPIRE', key, math.ceil((score - now + 2 * window) / 1000) + 1000)
      end
      if not first_score then first_score, first_cost = score, cost end
    end

    remaining = limit - used
    local need = unit - remaining  -- units that must leave before one more call fits
    if unit > limit then
      wait = -1
    elseif granted < count and need > 0 then
      local leaves = first_score
      if need > first_cost + 0 then
        -- Running totals are sorted: find the entry with which enough has left.
        local base, low, high = total - used, 1, call('ZCARD', key) - 1
        while low < high do
          local middle = math.floor((low + high) / 2)
          local member = call('ZRANGE', key, middle, middle)[1]
          if member:match('^%d+') - base >= need then high = middle else low = middle + 1 end
        end
        leaves = call('ZRANGE', key, low, low, 'WITHSCORES')[2] + 0
      end
      wait = leaves + window - now
    end
    if first_score then reset = first_score + window - now end
  end
  if not known then return {granted, now, remaining, reset, wait} end
  reply[#reply + 1] = remaining
  reply[#reply + 1] = reset
  reply[#reply + 1] = wait
end
return reply
