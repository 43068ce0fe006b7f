-- uses: runs
-- Take back the jobs of a holder that has ended.
--
-- K:holders, K:gone  see lease.lua
-- ARGV[2] holder, [3] reason, [4] "unknown" when nobody knows what ran, else "charged", [5…] "<token> <id>" of the runs
-- to be charged
-- Returns how many jobs it had.
local holder, reason = ARGV[2], ARGV[3]
local number = call('HGET', K .. ':holders', holder)
begin()
call('HDEL', K .. ':holders', holder)
if call('EXISTS', K .. ':settings') == 1 then
  call('ZADD', K .. ':gone', boot, holder)
end
if not number then
  return 0
end
for _, lane in ipairs(call('SMEMBERS', K .. ':lanes')) do -- it may have taken markers, and not come to lease
  if call('EXISTS', K .. ':ready:' .. lane) == 1 then
    mark(lane)
  end
end
if call('EXISTS', K .. ':scheduled', K .. ':expiring') > 0 then
  call('ZADD', K .. ':wake', 0, 1)
end
local charged = {}
for a = 5, #ARGV do
  charged[ARGV[a]] = true
end
local members = call('ZRANGEBYSCORE', K .. ':running', number, number)
for _, member in ipairs(members) do
  local job = job_of(member, ':running')
  local crashed = job and charged[job.token .. ' ' .. job.id]
  if not job then
    call('SREM', K .. ':cancelling', string.sub(member, 17))
  elseif crashed or ARGV[4] == 'unknown' then
    put_charged(job, reason, crashed)
  else
    job.attempts = job.attempts - 1
    put_back(job, 'ready')
  end
end
tell()
return #members
