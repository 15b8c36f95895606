-- What is to be done once by one of many. KEYS: the deed. ARGV: who, for how long in ms, "take" or "done".
-- Returns 1 if it is theirs to do, 0 while another does it, 2 if it has been done.
-- A name of somebody never begins with "=".
local holder = redis.call('GET', KEYS[1])
if holder == '=done' then return 2 end
if ARGV[3] == 'done' then
  redis.call('SET', KEYS[1], '=done', 'PX', ARGV[2])
  return 1
end
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
