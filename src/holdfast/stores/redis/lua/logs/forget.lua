-- uses: logs/log
-- Remove a group.
--
-- ARGV[2] group, [3] its number and [4] when it was seen last: if it is still so; empty for whenever
-- Returns 1, 0 when there is none.
local its = load(ARGV[2], ARGV[3] ~= '' and ARGV[3] or nil)
if not its or (ARGV[4] ~= '' and its.seen ~= ARGV[4]) then
  return 0
end
begin()
changed(ARGV[2])
remove(ARGV[2])
call('ZADD', K .. ':forgotten', new_serial(), ARGV[2])
call('ZREMRANGEBYRANK', K .. ':forgotten', 0, -1001)
return 1
