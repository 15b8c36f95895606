-- A 304 has renewed a record: its times are written where they stand, and all of it lives on. Only if
-- it is still the same entry.
-- KEYS: the record, its chunks. ARGV: its first bytes, its entry, the new bytes, where the new bytes and
-- the entry stand, lifetime_ms, lifetime_ms of the chunks
local call = redis.call
local record = KEYS[1]
local at = tonumber(ARGV[5])
if call('GETRANGE', record, 0, #ARGV[1] - 1) ~= ARGV[1] then return 0 end
if call('GETRANGE', record, at, at + #ARGV[2] - 1) ~= ARGV[2] then return 0 end
for i = 2, #KEYS do
  if call('PEXPIRE', KEYS[i], ARGV[7]) == 0 then return 0 end
end
call('SETRANGE', record, ARGV[4], ARGV[3])
call('PEXPIRE', record, ARGV[6])
return 1
