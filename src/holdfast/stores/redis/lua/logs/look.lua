-- uses: logs/log
-- What a log is. Changes nothing.
--
-- Returns nothing when there is none; else life, revision, settings, and for each partition the offset below which
-- nothing is, and the furthest place of a group.
local its = call('HMGET', K .. ':log', 'life', 'revision', 'settings', 'partitions')
if not its[1] then
  return false
end
local answer, furthest = { tonumber(its[1]), tonumber(its[2]), its[3] }, {}
for _, group in ipairs(call('HKEYS', K .. ':groups')) do
  for i = 0, its[4] - 1 do
    local place = tonumber(call('HGET', K .. ':group:' .. group, 'n' .. i)) or 0
    furthest[i] = math.max(furthest[i] or 0, place)
  end
end
for i = 0, its[4] - 1 do
  answer[#answer + 1] = first_of(i)
  answer[#answer + 1] = furthest[i] or 0
end
return answer
