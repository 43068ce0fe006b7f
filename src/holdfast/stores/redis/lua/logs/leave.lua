-- uses: logs/log
-- A member goes.
--
-- ARGV[2] group, [3] its number, [4] member
local its = load(ARGV[2], ARGV[3])
if its then
  begin()
  dismiss(ARGV[2], its, ARGV[4])
  call('HSET', K .. ':group:' .. ARGV[2], 'seen', boot)
  changed(ARGV[2])
end
return 1
