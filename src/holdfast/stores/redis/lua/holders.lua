-- uses: store
-- The holders that have not ended. Changes nothing.
--
-- Returns the time, and of each: when it falls silent, and what it said.
local answer = { boot }
local beats = call('ZRANGE', S .. ':beats', 0, -1, 'WITHSCORES')
for i = 1, #beats, 2 do
  answer[#answer + 1] = tonumber(beats[i + 1])
  answer[#answer + 1] = call('HGET', S .. ':holders', beats[i]) or ''
end
return answer
