-- Adds to how often names were asked for. KEYS: the hour. ARGV: its life in ms, how many names it may
-- hold, then count and name by turns. Beyond that many the rarest go. The key never stands without a TTL.
for i = 3, #ARGV, 2 do
  redis.call('ZINCRBY', KEYS[1], ARGV[i], ARGV[i + 1])
end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return redis.call('ZCARD', KEYS[1])
