-- uses: logs/log
-- The groups of a log as they stand. Changes nothing.
--
-- ARGV[2] the one that is asked for, or empty for all
-- Returns the time (boot clock), and of each group: name, number, when it was seen, pairs of member and holder, and for
-- each partition what is next and the member that holds it or empty.
local answer, count = { boot }, partitions()
for _, group in ipairs(call('HKEYS', K .. ':groups')) do
  if ARGV[2] == '' or ARGV[2] == group then
    local its, places = load(group), {}
    for i = 0, count - 1 do
      places[#places + 1] = tonumber(its['n' .. i]) or 0
      places[#places + 1] = its['o' .. i] or ''
    end
    answer[#answer + 1] = { group, its.number, its.seen, call('HGETALL', K .. ':members:' .. group), places }
  end
end
return answer
