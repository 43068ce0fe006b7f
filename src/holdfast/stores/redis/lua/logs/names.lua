-- uses: queue
-- The names of logs, in the slot of the whole store.
--
-- K:logs       hash of log -> the number under which it was noted last
-- K:logs:life  the last such number: lives of logs, which rise and never come twice
-- K:logs:birth when the first was noted: another one means that the server has lost everything
-- ARGV[2] "note", [3] log          note a name; returns its new number, and the birth
-- ARGV[2] "number", [3] log        returns the number or nothing, and the birth or nothing; changes nothing
-- ARGV[2] "forget", [3] log, [4]   forget a name that is still of that number
if ARGV[2] == 'note' then
  local life = math.max((tonumber(call('GET', K .. ':logs:life')) or 0) + 1, now)
  call('DEL', K .. ':none') -- who has begun to write may go on when memory is full
  call('SET', K .. ':logs:life', string.format('%.0f', life))
  call('HSET', K .. ':logs', ARGV[3], life)
  call('SETNX', K .. ':logs:birth', life)
  return { life, call('GET', K .. ':logs:birth') }
elseif ARGV[2] == 'number' then
  return { call('HGET', K .. ':logs', ARGV[3]), call('GET', K .. ':logs:birth') }
elseif call('HGET', K .. ':logs', ARGV[3]) == ARGV[4] then
  call('HDEL', K .. ':logs', ARGV[3])
end
return 1
