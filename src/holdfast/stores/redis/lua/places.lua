-- uses: store
-- The names of queues. One is noted before and after its settings are written, and taken out after they are removed,
-- unless it was noted meanwhile.
--
-- S:queues  hash: by name, the number under which it was noted last
-- S:notes   counter: the number given last
-- ARGV[2] note, number or forget, [3] name, [4] for forget: the number before the queue was removed
-- Returns the number.
if ARGV[2] == 'note' then
  begin()
  return call('HSET', S .. ':queues', ARGV[3], call('INCR', S .. ':notes'))
end
local number = call('HGET', S .. ':queues', ARGV[3]) or '0'
if ARGV[2] == 'forget' and number == ARGV[4] then
  call('HDEL', S .. ':queues', ARGV[3])
end
return tonumber(number)
