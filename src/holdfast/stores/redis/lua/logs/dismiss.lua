-- uses: logs/log
-- The members of a holder go, those of every group.
--
-- ARGV[2] holder, [3] when it was seen last (ms, boot clock)
-- Returns how many partitions they held.
local held = 0
for _, group in ipairs(call('HKEYS', K .. ':groups')) do
  local members, its = call('HGETALL', K .. ':members:' .. group), nil
  for i = 1, #members, 2 do
    if members[i + 1] == ARGV[2] then
      begin()
      its = its or load(group)
      held = held + dismiss(group, its, members[i])
    end
  end
  if its then
    if tonumber(its.seen) < tonumber(ARGV[3]) then
      call('HSET', K .. ':group:' .. group, 'seen', ARGV[3])
    end
    changed(group)
  end
end
return held
