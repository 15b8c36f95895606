-- The right to fetch for the whole fleet, as its holder ends or prolongs it.
-- KEYS: the lock. ARGV: 'renew' token lifetime_ms | 'release' token channel news
local call = redis.call
local mine = call('GET', KEYS[1]) == ARGV[2]

if ARGV[1] == 'renew' then
  return mine and call('PEXPIRE', KEYS[1], ARGV[3]) or 0
end
-- Who waits wants to know how it ended even if the lock has expired meanwhile.
if mine then call('DEL', KEYS[1]) end
call('PUBLISH', ARGV[3], ARGV[4])
return mine and 1 or 0
