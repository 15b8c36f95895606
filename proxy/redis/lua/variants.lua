-- The variants of one URL. One script for both directions, so that a server either knows both or
-- none, and the order of calls survives when it knows none.
-- KEYS: the URL's plain key, the list of its variants (a sorted set: digest by expiry in ms).
-- ARGV: 'add' marker digest lifetime_ms limit now_ms | 'remove'
local call = redis.call
local plain, list = KEYS[1], KEYS[2]

if ARGV[1] == 'remove' then
  for _, digest in ipairs(call('ZRANGE', list, 0, -1)) do
    call('UNLINK', plain .. ':' .. digest)
  end
  return call('UNLINK', plain, list)
end

local marker, digest, limit = ARGV[2], ARGV[3], tonumber(ARGV[5])
local lifetime, now = tonumber(ARGV[4]), tonumber(ARGV[6])

-- The marker lives as long as the variant that lives longest.
local left = call('PTTL', list)
local longest = math.max(lifetime, left)
call('SET', plain, marker, 'PX', string.format('%.0f', longest))

call('ZADD', list, string.format('%.0f', now + lifetime), digest)
call('ZREMRANGEBYSCORE', list, '-inf', string.format('%.0f', now))
local surplus = call('ZCARD', list) - limit
if surplus > 0 then
  for _, old in ipairs(call('ZRANGE', list, 0, surplus - 1)) do
    call('UNLINK', plain .. ':' .. old)
    call('ZREM', list, old)
  end
end
call('PEXPIRE', list, string.format('%.0f', longest))
return surplus
