-- uses: schedules/reading
-- What is to be fired. Changes nothing.
--
-- ARGV[2] at most so many, [3…] the names of schedules of code that the asking process declares
-- Returns the time, the next tick of all that are not due or empty, and those that are (schedules/reading.lua).
local limit = ARGV[2]
local names = call('ZRANGEBYSCORE', K .. ':manual', '-inf', now, 'LIMIT', 0, limit)
local following = tonumber(call('ZRANGEBYSCORE', K .. ':manual', '(' .. string.format('%.0f', now), '+inf', 'WITHSCORES',
  'LIMIT', 0, 1)[2])
for a = 3, #ARGV do
  local tick = tonumber(call('ZSCORE', K .. ':coded', ARGV[a]))
  if tick and tick <= now then
    names[#names + 1] = ARGV[a]
  elseif tick and (not following or tick < following) then
    following = tick
  end
end
local due = {}
for _, name in ipairs(names) do
  due[#due + 1] = schedule_of(name)
end
return { now, following or '', due }
