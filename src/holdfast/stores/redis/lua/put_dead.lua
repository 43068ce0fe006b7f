-- uses: messages, runs
-- Store a message as a job that is dead.
--
-- ARGV[2] reason, [3] attempts, [4] crashes, [5] outcome of its run, [6] its error as JSON, [7…] a group (messages.lua)
-- Returns 1, 0 when its id is known, or "undeclared".
if call('EXISTS', K .. ':settings') == 0 then
  return 'undeclared'
end
local group = group_at(7)
local id = ARGV[group.first]
if is_known(id) then
  write_nothing()
  return 0
end
local member = member_of(call('INCR', K .. ':seq'), id)
local at = K .. ':job:' .. id
call('HSET', at, 'seq', string.sub(member, 1, 16), unpack(fields_of(group)))
call('HSET', at, 'state', 'dead', 'ended', now, 'reason', ARGV[2], 'attempts', ARGV[3], 'crashes', ARGV[4])
call('SET', K .. ':body:' .. id, ARGV[group.first + 1])
call('SADD', K .. ':lanes', group.lane)
call('ZADD', K .. ':jobs', 0, member)
call('ZADD', K .. ':dead', now, member)
note({ id = id, attempts = tonumber(ARGV[3]) }, run_of({ attempts = tonumber(ARGV[3]) }, ARGV[5], ARGV[6]))
return 1
