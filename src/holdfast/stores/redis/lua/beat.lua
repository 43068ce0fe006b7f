-- uses: store
-- Keep a holder alive.
--
-- S:beats        holders that have not ended, by when they fall silent, in ms of the clock of heartbeats
-- S:holders      hash of what each said of itself, JSON
-- S:ended        holders that have ended, by when; remembered for an hour
-- S:commands     hash of what each was last asked to do
-- S:with:<h>     set of the queues in which a holder leases
-- ARGV[2] holder, [3] ttl in ms, [4] what it says, [5…] the queues that it works on
-- Returns nothing when it has ended; else its command or empty, the ms until the first other holder falls silent or -1,
-- the queues in which it has leased, and those that it works on and whose name is not known.
local holder = ARGV[2]
if call('ZSCORE', S .. ':ended', holder) then
  return false
end
begin()
call('ZADD', S .. ':beats', boot + ARGV[3], holder)
call('HSET', S .. ':holders', holder, ARGV[4])
local soonest = -1
local first = call('ZRANGE', S .. ':beats', 0, 1, 'WITHSCORES')
for i = 3, 1, -2 do
  if first[i] and first[i] ~= holder then
    soonest = math.max(0, first[i + 1] - boot)
  end
end
local unknown = {}
for a = 5, #ARGV do
  if call('HEXISTS', S .. ':queues', ARGV[a]) == 0 then
    unknown[#unknown + 1] = ARGV[a]
  end
end
return { call('HGET', S .. ':commands', holder) or '', soonest, call('SMEMBERS', S .. ':with:' .. holder), unknown }
