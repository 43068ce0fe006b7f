-- uses: logs/log
-- A partition, or the place of a group in it, was found to be other than a member knew it: a server has lost what came
-- last.
--
-- ARGV[2] group, [3] its number, [4] partition, [5] its end, [6] the last version that the member knows of
-- Returns the offset that no group has come to if that is beyond the end: the partition is to go on there. Else what is in
-- the hands of the member loses, as by a seek, and the offset is returned.
local group, i = ARGV[2], ARGV[4]
local reached = furthest(i)
local its = load(group, ARGV[3])
if its and reached <= tonumber(ARGV[5]) then
  begin()
  local serial, at = new_serial(tonumber(ARGV[6])), K .. ':group:' .. group
  call('HSET', at, 'v' .. i, serial, 'b' .. i, serial)
  call('HDEL', at, 'f' .. i)
  forget_crashes(group, i, math.huge) -- another message may have the offset by now
  changed(group)
end
return reached
