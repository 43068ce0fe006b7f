-- uses: logs/log
-- Set places of a group anew; it is made if need be.
--
-- ARGV[2] life, [3] group, [4…] pairs of partition and offset
-- Returns "stale"; {"gone", partition, first}, nothing changed; or 1.
if not log_is(ARGV[2]) then
  return 'stale'
end
local group = ARGV[3]
for a = 4, #ARGV, 2 do
  if tonumber(ARGV[a + 1]) < first_of(ARGV[a]) then
    return { 'gone', tonumber(ARGV[a]), first_of(ARGV[a]) }
  end
end
begin()
if call('HEXISTS', K .. ':groups', group) == 0 then
  make(group, {})
end
local at = K .. ':group:' .. group
for a = 4, #ARGV, 2 do
  local i, serial = ARGV[a], new_serial()
  call('HSET', at, 'n' .. i, ARGV[a + 1], 'v' .. i, serial, 'b' .. i, serial)
  call('HDEL', at, 'f' .. i)
  forget_crashes(group, i, math.huge)
end
call('HSET', at, 'seen', boot)
changed(group)
return 1
