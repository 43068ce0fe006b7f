-- uses: logs/part
-- Remove the partition with everything, if it is of a life of its log that has ended.
--
-- ARGV[2] that life
-- Returns how many messages went.
local its = call('HMGET', K .. ':ends', 'life', 'first', 'next')
if not its[1] or tonumber(its[1]) > tonumber(ARGV[2]) then
  return 0
end
call('UNLINK', K .. ':messages', K .. ':index', K .. ':ends', K .. ':producers', K .. ':used')
return its[3] - its[2]
