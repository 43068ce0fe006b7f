-- uses: erase
-- Remove a step of the queue's jobs, and with the last step everything but the highest token: where that is left, and
-- no settings, a queue was destroyed, and not lost.
--
-- ARGV[2]  how many jobs to remove at the most
-- Returns how many went, and 1 when the queue is gone.
begin()
local most = tonumber(ARGV[2])
local members = call('ZRANGE', K .. ':jobs', 0, most - 1)
for _, member in ipairs(members) do
  local job = job_of(member, ':jobs')
  if job and job.state == 'running' then
    call('ZREM', K .. ':running', member)
    call('SREM', K .. ':cancelling', job.id)
    leave(job)
  end
  if job then
    erase(job)
  end
end
tell()
if #members == most then
  return { most, 0 }
end
if call('EXISTS', K .. ':settings') == 1 then
  call('SETNX', K .. ':token', 0)
end
for _, lane in ipairs(call('SMEMBERS', K .. ':lanes')) do
  call('DEL', K .. ':ready:' .. lane, K .. ':wake:' .. lane)
end
for _, key in ipairs(call('HKEYS', K .. ':keys')) do
  call('DEL', K .. ':line:' .. key) -- there are some only where jobs' own keys were deleted
end
for _, name in ipairs(call('ZRANGE', K .. ':schedules', 0, -1)) do
  call('DEL', K .. ':schedule:' .. name, K .. ':ticks:' .. name, K .. ':open:' .. name)
end
-- Whoever waited has been told by now, and has a minute to read it.
for _, watch in ipairs(call('ZRANGE', K .. ':watchers', 0, -1)) do
  call('PEXPIRE', K .. ':watch:' .. watch, 60000)
  call('DEL', K .. ':watching:' .. watch)
end
local waiting = call('EXISTS', K .. ':paused') == 1 and math.max(1, call('HLEN', K .. ':holders')) or 0
for _, what in ipairs({ 'settings', 'paused', 'jobs', 'seq', 'lanes', 'wake', 'scheduled', 'expiring', 'running',
  'cancelling', 'done', 'kept', 'dead', 'cancelled', 'expired', 'forgotten', 'keys', 'slots', 'left', 'holders', 'numbers', 'gone',
  'returned', 'plain', 'schedules', 'manual', 'coded', 'watched', 'watchers' }) do
  call('DEL', K .. ':' .. what)
end
-- Who waits for a paused queue to go on must learn that it is not paused any more; see pause.lua.
for n = 1, waiting do
  call('ZADD', K .. ':wake', 0, n)
end
call('PEXPIRE', K .. ':wake', 60000)
return { #members, 1 }
