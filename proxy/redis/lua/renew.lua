-- A 304 has renewed a record: its times are written where they stand, and all of it lives on. Only if
-- it is still the same entry.
-- KEYS: the record, the chunks it may have. ARGV: its first bytes, its entry, the new bytes, where the new
-- bytes and the entry stand, lifetime_ms, lifetime_ms of the chunks, bytes of a chunk, size of the head
local call = redis.call
local record = KEYS[1]
local at = tonumber(ARGV[5])
if call('GETRANGE', record, 0, #ARGV[1] - 1) ~= ARGV[1] then return 0 end
if call('GETRANGE', record, at, at + #ARGV[2] - 1) ~= ARGV[2] then return 0 end
-- As the head says: behind the version stand the flags (1 compressed, 4 in chunks) and the size of the
-- body; behind the head of a compressed one the size it is kept in.
local flags, size = struct.unpack('<BI4', call('GETRANGE', record, #ARGV[1], #ARGV[1] + 4))
local chunks = 0
if flags % 8 >= 4 then
  if flags % 2 == 1 then
    size = struct.unpack('<I4', call('GETRANGE', record, ARGV[9], ARGV[9] + 3))
  end
  chunks = math.ceil(size / ARGV[8])
end
for i = 2, chunks + 1 do
  if call('PEXPIRE', KEYS[i], ARGV[7]) == 0 then return 0 end
end
call('SETRANGE', record, ARGV[4], ARGV[3])
call('PEXPIRE', record, ARGV[6])
return 1
