-- One identity begins anew under one policy, and every instance is told.
-- KEYS: all it has there. ARGV: channel message. Reply: how many of them there were.
local removed = redis.call('UNLINK', unpack(KEYS))
redis.call('PUBLISH', ARGV[1], ARGV[2])
return removed
