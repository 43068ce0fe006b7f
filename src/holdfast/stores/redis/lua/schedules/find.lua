-- uses: schedules/reading
-- Schedules by name.
--
-- ARGV[2] name or empty for all, [3] the name to begin behind or empty, [4] at most so many
-- Returns them (schedules/reading.lua).
local found = {}
local names = { ARGV[2] }
if ARGV[2] == '' then
  names = call('ZRANGEBYLEX', K .. ':schedules', '(' .. ARGV[3], '+', 'LIMIT', 0, ARGV[4])
end
for _, name in ipairs(names) do
  found[#found + 1] = schedule_of(name)
end
return found
