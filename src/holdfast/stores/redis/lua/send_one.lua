-- uses: queue
-- Store one message that is ready at once and has no key and no expiry: what most sends are, without what others need.
--
-- See messages.lua and jobs.lua for the keys.
-- ARGV[2]  "1" to hold it to the queue's limits, [3] the size of the body, [4] lane, [5] priority, [6] id, [7] its body
--          as in K:body, [8…] fields and values to be kept as they are
-- Returns as send.lua does, or "otherwise" when nothing was stored because send.lua has to look.
local id, lane, priority = ARGV[6], ARGV[4], ARGV[5]
local settings = call('HMGET', K .. ':settings', 'max_body', 'min_body', 'limit')
if not settings[1] then
  return 'undeclared'
end
local size = tonumber(ARGV[3])
if ARGV[2] == '1' and (size > tonumber(settings[1]) or size < tonumber(settings[2])) then
  return 'body'
end
if settings[3] or string.find(lane, '\n', 1, true) or call('ZSCORE', K .. ':forgotten', id) or call('SETNX', K .. ':body:' .. id, ARGV[7]) == 0 then
  return 'otherwise'
end
local most, timeout = '', ''
for a = 8, #ARGV, 2 do
  if ARGV[a] == 'most' then most = ARGV[a + 1] else timeout = ARGV[a + 1] end
end
local seq = string.format('%016d', call('INCR', K .. ':seq'))
local member = seq .. id
call('HSET', K .. ':plain', id, string.format('r%016.0f', call('GET', K .. ':token') or 0) .. seq
  .. table.concat({ whole(now), priority, most, timeout, lane }, ' ')) -- plain.lua
call('SADD', K .. ':lanes', lane)
call('ZADD', K .. ':jobs', '0', member)
call('ZADD', K .. ':ready:' .. lane, whole((100 - priority) * 35184372088832 + now), member)
call('ZADD', K .. ':wake:' .. lane, '0', '1')
return {}
