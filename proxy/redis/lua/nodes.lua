-- Who is there, and up to which purge each has come.
-- KEYS: names by the server's milliseconds, names by the last purge known.
-- ARGV: 'beat' dead_after_ms name sequence most | 'leave' dead_after_ms name | 'list' dead_after_ms
local call = redis.call
local nodes, sequences = KEYS[1], KEYS[2]
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local dead_after = tonumber(ARGV[2])
local oldest = string.format('%.0f', now - dead_after)

if ARGV[1] == 'list' then
  local out = {}
  for _, name in ipairs(call('ZRANGEBYSCORE', nodes, oldest, '+inf')) do
    local sequence = call('ZSCORE', sequences, name)
    out[#out + 1] = name
    out[#out + 1] = sequence and string.format('%.0f', sequence) or '0'
  end
  return out
end

for _, name in ipairs(call('ZRANGEBYSCORE', nodes, '-inf', '(' .. oldest)) do
  call('ZREM', nodes, name)
  call('ZREM', sequences, name)
end
if ARGV[1] == 'leave' then
  call('ZREM', nodes, ARGV[3])
  return call('ZREM', sequences, ARGV[3])
end

local count = call('ZCARD', nodes)
-- Names are random: somebody who makes up ever new ones must not fill the server.
if count < tonumber(ARGV[5]) or call('ZSCORE', nodes, ARGV[3]) then
  call('ZADD', nodes, string.format('%.0f', now), ARGV[3])
  call('ZADD', sequences, ARGV[4], ARGV[3])
  count = call('ZCARD', nodes)
end
call('PEXPIRE', nodes, dead_after * 2)
call('PEXPIRE', sequences, dead_after * 2)
return count
