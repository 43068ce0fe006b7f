-- uses: queue
-- What a beat tells a holder of one queue. Changes nothing.
--
-- K:manual, K:coded  see schedules/save.lua
-- ARGV[2] holder, [3…] names of the schedules that its code declares
-- Returns whether the queue exists, whether it is paused, the ms until the next tick or empty, and pairs of id and token of its running
-- jobs that were asked to be cancelled.
local answer = { call('EXISTS', K .. ':settings'), call('EXISTS', K .. ':paused'), '' }
local following = tonumber(call('ZRANGE', K .. ':manual', 0, 0, 'WITHSCORES')[2])
for a = 3, #ARGV do
  local tick = tonumber(call('ZSCORE', K .. ':coded', ARGV[a]))
  if tick and (not following or tick < following) then
    following = tick
  end
end
if following then
  answer[3] = string.format('%.0f', following - now)
end
for _, id in ipairs(call('SMEMBERS', K .. ':cancelling')) do
  local its = call('HMGET', K .. ':job:' .. id, 'holder', 'token')
  if its[1] == ARGV[2] then
    answer[#answer + 1] = id
    answer[#answer + 1] = its[2]
  end
end
return answer
