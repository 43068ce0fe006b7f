-- uses: logs/log
-- Raise the offsets below which nothing is, before partitions are cut there; with "until", to what all groups have read.
--
-- ARGV[2] life, [3…] pairs of partition and offset
-- Returns the offsets to cut at, in their order.
local answer = {}
local its = call('HMGET', K .. ':log', 'life', 'until')
if its[1] ~= ARGV[2] then
  return answer
end
begin()
local groups = its[2] == '1' and call('HKEYS', K .. ':groups') or {}
for a = 3, #ARGV, 2 do
  local offset = tonumber(ARGV[a + 1])
  for _, group in ipairs(groups) do
    offset = math.min(offset, tonumber(call('HGET', K .. ':group:' .. group, 'n' .. ARGV[a])) or 0)
  end
  offset = math.max(offset, first_of(ARGV[a]))
  call('HSET', K .. ':first', ARGV[a], offset)
  answer[#answer + 1] = offset
end
return answer
