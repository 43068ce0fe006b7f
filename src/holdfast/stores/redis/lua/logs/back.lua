-- uses: logs/log
-- A partition was found to be other than a member has read it: the server has lost what was appended last.
--
-- ARGV[2] group, [3] its number, [4] partition, [5] its end
-- Returns the furthest place of a group there if that is beyond the end: the partition is to go on there. Else what is in
-- the hands of the member loses, as by a seek, and the place is returned.
local group, i = ARGV[2], ARGV[4]
local furthest = 0
for _, one in ipairs(call('HKEYS', K .. ':groups')) do
  furthest = math.max(furthest, tonumber(call('HGET', K .. ':group:' .. one, 'n' .. i)) or 0)
end
local its = load(group, ARGV[3])
if its and furthest <= tonumber(ARGV[5]) then
  begin()
  local serial = new_serial()
  call('HSET', K .. ':group:' .. group, 'v' .. i, serial, 'b' .. i, serial)
  changed(group)
end
return furthest
