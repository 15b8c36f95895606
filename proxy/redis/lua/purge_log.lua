-- The purge log: one sorted set of names by the sequence of their last purge. Sequences are the
-- server's microseconds, strictly increasing. Three members are no names: '#' the last sequence
-- given, '@' when the log was born (a lost log is born again: whoever knew the old one sees that),
-- '^' the floor: what was purged up to there may have been forgotten.
-- KEYS: the log.
-- ARGV: 'read' lifetime_ms after most went_back born
--     | 'purge' lifetime_ms channel most flags name ...
local call, num = redis.call, tonumber
local log = KEYS[1]
local lifetime = num(ARGV[2])
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local function text(number) return string.format('%.0f', number) end

local head = num(call('ZSCORE', log, '#') or 0)
if head == 0 then
  head = now
  call('ZADD', log, text(now), '#', text(now), '@')
  call('PEXPIRE', log, lifetime)
end

if ARGV[1] == 'read' then
  -- Who knows later purges than the log has seen it go back: a fail-over lost them. Nobody knows all
  -- of them, so the log is born again, once. A reader may also see that by a message that followed.
  local born = call('ZSCORE', log, '@') or '0'
  if num(ARGV[3]) > head or (ARGV[5] == '1' and num(born) == num(ARGV[6])) then
    head = math.max(now, head + 1, num(ARGV[3]) + 1)
    call('ZADD', log, text(head), '#', text(head), '@')
  end
  -- Whoever reads may be the only one left: without purges the log must outlive what it guards.
  if call('PTTL', log) < lifetime / 2 then call('PEXPIRE', log, lifetime) end
  local most = num(ARGV[4])
  local found = call('ZRANGEBYSCORE', log, '(' .. ARGV[3], '+inf', 'WITHSCORES', 'LIMIT', 0, most)
  local out = {text(head), text(num(call('ZSCORE', log, '@') or 0)),
               text(num(call('ZSCORE', log, '^') or 0)), #found == 2 * most and '1' or '0'}
  for i = 1, #found, 2 do
    out[#out + 1] = found[i]
    out[#out + 1] = text(num(found[i + 1]))
  end
  return out
end

local previous = head
head = now > head and now or head + 1
local message = {text(previous), text(head), ARGV[5]}
for i = 6, #ARGV do
  call('ZADD', log, text(head), ARGV[i])
  message[#message + 1] = ARGV[i]
end
call('ZADD', log, text(head), '#')
call('PEXPIRE', log, lifetime)

-- Each call takes out a little more than it puts in, so that no call takes long.
local surplus = call('ZCARD', log) - 3 - num(ARGV[4])
local oldest = now - lifetime * 1000
local floor = num(call('ZSCORE', log, '^') or 0)
local before = floor
local found = call('ZRANGE', log, 0, 2 * (#ARGV - 5) + 16, 'WITHSCORES')
for i = 1, #found, 2 do
  local name, score = found[i], num(found[i + 1])
  if name ~= '#' and name ~= '@' and name ~= '^' then
    if surplus <= 0 and score > oldest then break end
    call('ZREM', log, name)
    surplus = surplus - 1
    if score > floor then floor = score end
  end
end
if floor > before then call('ZADD', log, text(floor), '^') end

return {text(head), text(previous), call('PUBLISH', ARGV[3], table.concat(message, ' '))}
