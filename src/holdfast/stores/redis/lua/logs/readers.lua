-- uses: queue
-- Holders that read logs, in the slot of the whole store.
--
-- K:readers        holders that have not ended, by when they fall silent (ms, boot clock)
-- K:readers:told   hash of what each says of itself, JSON
-- K:readers:ended  holders that were retired, by when; remembered for an hour
-- K:reads:<h>      set of the logs in which a holder has members; kept until they are dismissed
-- ARGV[2] "beat", [3] holder, [4] ttl in ms, [5] what it says, [6] a log in which it joins, or empty
--                                  returns 1, 0 when it was retired
-- ARGV[2] "retire", [3] holder     returns the logs in which it has members
-- ARGV[2] "done", [3] holder, [4…] logs: its members are dismissed there
-- ARGV[2] "ask", [3…] holders      returns the time, and of each: when it falls silent (0: it has ended), what it says
-- ARGV[2] "left"                   returns pairs: holders whose members are to be dismissed, and their logs
local HOUR, verb, holder = 3600000, ARGV[2], ARGV[3]

local function end_(one)
  call('ZREM', K .. ':readers', one)
  call('HDEL', K .. ':readers:told', one)
end

if verb == 'beat' then
  if call('ZSCORE', K .. ':readers:ended', holder) then
    return 0
  end
  call('ZREM', K .. ':readers', holder) -- frees memory, so that a full server takes the rest
  call('ZADD', K .. ':readers', boot + ARGV[4], holder)
  call('HSET', K .. ':readers:told', holder, ARGV[5])
  if ARGV[6] ~= '' then
    call('SADD', K .. ':reads:' .. holder, ARGV[6])
  end
  return 1
elseif verb == 'retire' then
  end_(holder)
  call('ZADD', K .. ':readers:ended', 'NX', boot, holder)
  return call('SMEMBERS', K .. ':reads:' .. holder)
elseif verb == 'done' then
  for a = 4, #ARGV do
    call('SREM', K .. ':reads:' .. holder, ARGV[a])
  end
  return 1
elseif verb == 'ask' then
  local answer = { boot }
  for a = 3, #ARGV do
    answer[#answer + 1] = tonumber(call('ZSCORE', K .. ':readers', ARGV[a])) or 0
    answer[#answer + 1] = call('HGET', K .. ':readers:told', ARGV[a]) or ''
  end
  return answer
end
local answer = {}
for _, one in ipairs(call('ZRANGEBYSCORE', K .. ':readers', '-inf', boot - HOUR)) do
  end_(one)
  call('ZADD', K .. ':readers:ended', boot, one) -- until its members are dismissed; its next life has another name
end
for _, one in ipairs(call('ZRANGE', K .. ':readers:ended', 0, -1)) do
  local logs = call('SMEMBERS', K .. ':reads:' .. one)
  if #logs > 0 then
    answer[#answer + 1] = one
    answer[#answer + 1] = logs
  elseif tonumber(call('ZSCORE', K .. ':readers:ended', one)) < boot - HOUR then
    call('ZREM', K .. ':readers:ended', one)
  end
end
return answer
