-- uses: jobs
-- Pause the queue, or let it go on and wake whoever waits.
--
-- ARGV[2] pause or resume
-- Returns "undeclared" when there is no such queue yet.
if call('EXISTS', K .. ':settings') == 0 then
  return 'undeclared'
end
write_nothing()
if ARGV[2] == 'pause' then
  call('SET', K .. ':paused', 1)
  return 1
end
call('DEL', K .. ':paused')
for _, lane in ipairs(call('SMEMBERS', K .. ':lanes')) do
  if call('EXISTS', K .. ':ready:' .. lane) == 1 then
    mark(lane)
  end
end
-- All who wait meanwhile wait for this marker alone, so there is one for each of them; any more are looks in vain.
call('ZADD', K .. ':wake', 0, 1)
for n = 2, call('HLEN', K .. ':holders') do
  call('ZADD', K .. ':wake', 0, n)
end
return 1
