-- uses: logs/log
-- Remove a log from its slot. What it has in its partitions is left to be erased.
--
-- Returns life and partitions of what is to be erased; nothing when there is nothing.
local its = call('HMGET', K .. ':log', 'life', 'partitions')
if its[1] then
  local groups = call('HKEYS', K .. ':groups')
  call('DEL', K .. ':log', K .. ':first', K .. ':groups', K .. ':news', K .. ':forgotten')
  for _, group in ipairs(groups) do
    call('DEL', K .. ':group:' .. group, K .. ':members:' .. group, K .. ':crashes:' .. group)
  end
  call('SET', K .. ':ended', its[1] .. ' ' .. its[2])
  return { tonumber(its[1]), tonumber(its[2]) }
end
local ended = call('GET', K .. ':ended')
return ended and { tonumber(string.match(ended, '^%d+')), tonumber(string.match(ended, '%d+$')) }
