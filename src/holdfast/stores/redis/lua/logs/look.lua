-- uses: logs/log
-- What a log is. Changes nothing.
--
-- Returns nothing when there is none; else life, revision, settings, and for each partition the offset below which
-- nothing is, and that which no group has come to.
local its = call('HMGET', K .. ':log', 'life', 'revision', 'settings', 'partitions')
if not its[1] then
  return false
end
local answer = { tonumber(its[1]), tonumber(its[2]), its[3] }
for i = 0, its[4] - 1 do
  answer[#answer + 1] = first_of(i)
  answer[#answer + 1] = furthest(i)
end
return answer
