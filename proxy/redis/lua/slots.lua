-- Slots of concurrency that are still in use: they live on from now. One whose holder has died is
-- not among them and runs out.
-- KEYS[1]: the set of slots. ARGV: hold_us member...
local call = redis.call
local clock = call('TIME')
local hold = tonumber(ARGV[1])
local ends = string.format('%.0f', clock[1] * 1000000 + clock[2] + hold)
for i = 2, #ARGV do call('ZADD', KEYS[1], ends, ARGV[i]) end
return call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil(hold / 1000) + 1000))
