-- uses: logs/log
-- Add a member to a group, which is made if need be.
--
-- ARGV[2] life, [3] group, [4] holder, [5] "1" when the group must begin exactly at these, [6…] where it begins in each
-- partition
-- Returns "stale"; {"gone", partition, first}; or the numbers of group and member.
if not log_is(ARGV[2]) then
  return 'stale'
end
local group = ARGV[3]
if call('HEXISTS', K .. ':groups', group) == 0 then
  if ARGV[5] == '1' then
    for i = 0, partitions() - 1 do
      local start = tonumber(ARGV[6 + i])
      if start and start < first_of(i) then
        return { 'gone', i, first_of(i) }
      end
    end
  end
  begin()
  make(group, { unpack(ARGV, 6) })
end
begin()
local member = new_serial()
call('HSET', K .. ':members:' .. group, member, ARGV[4])
call('HSET', K .. ':group:' .. group, 'seen', boot)
changed(group)
return { tonumber(call('HGET', K .. ':group:' .. group, 'number')), member }
