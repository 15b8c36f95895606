-- The kill switch of rate limits, the same for all instances.
-- KEYS[1]  the policies that are off, by when they were turned off, in milliseconds. '*' stands for
--          all of them; '#' is none: it tells a set that was lost from one without names.
-- ARGV     lifetime_ms channel change...: '+NAME' turns on, '-NAME' off, '+*' also what was off by
--          name. Every instance is told of a change; without any this only reads.
-- Reply: the members.
local call = redis.call
local set = KEYS[1]
local time = call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
for i = 3, #ARGV do
  local name = ARGV[i]:sub(2)
  if name == '*' then call('DEL', set) end
  if ARGV[i]:sub(1, 1) == '-' then
    call('ZADD', set, now, name)
  else
    call('ZREM', set, name)
  end
  call('ZADD', set, now, '#')
end
call('PEXPIRE', set, ARGV[1])
if #ARGV > 2 then call('PUBLISH', ARGV[2], 'switch') end
return call('ZRANGE', set, 0, -1)
