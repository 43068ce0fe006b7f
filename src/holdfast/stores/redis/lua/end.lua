-- uses: store
-- Write down that a holder has ended, or that its jobs have been taken back.
--
-- S:ending   hash: by holder, the time of its end and how its jobs are to be taken back, until that is done
-- ARGV[2] holder, [3] "end", or "rescue" if it is silent still, and [4] how its jobs are to be taken back; or "done"
-- Returns its queues; nothing when it is not to be ended: it had ended, never was, or is not silent.
local holder = ARGV[2]
begin()
if ARGV[3] == 'done' then
  call('HDEL', S .. ':ending', holder)
  call('DEL', S .. ':with:' .. holder)
  return {}
end
local silent_at = tonumber(call('ZSCORE', S .. ':beats', holder))
if ARGV[3] == 'end' and call('HEXISTS', S .. ':ending', holder) == 1 then
  return call('SMEMBERS', S .. ':with:' .. holder) -- its end was begun, and its caller comes again to finish it
end
if not silent_at or (ARGV[3] == 'rescue' and silent_at > boot) then
  return false
end
call('ZREM', S .. ':beats', holder)
call('HDEL', S .. ':holders', holder)
call('HDEL', S .. ':commands', holder)
call('ZADD', S .. ':ended', boot, holder)
local queues = call('SMEMBERS', S .. ':with:' .. holder)
if #queues > 0 then
  call('HSET', S .. ':ending', holder, string.format('%.0f ', boot) .. ARGV[4])
end
return queues
