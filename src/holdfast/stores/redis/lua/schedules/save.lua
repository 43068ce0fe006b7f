-- uses: queue
-- Store a schedule in place of one version of it.
--
-- K:schedules        names of all schedules, all of score 0: by name
-- K:schedule:<name>  hash of one: format, definition (JSON), source, paused, next, version, created
-- K:manual, K:coded  names of schedules by their next tick: those of code, which only its workers fire, stand apart
-- ARGV[2] name, [3] the version, 0 for none, [4] the size of its body, [5] definition, [6] source, [7] "1" if paused,
-- [8] next tick or empty
-- Returns version and time of making; nothing when the version is another; "undeclared" or "body" of the queue.
local settings = call('HMGET', K .. ':settings', 'max_body', 'min_body')
if not settings[1] then
  return 'undeclared'
end
if tonumber(ARGV[4]) > tonumber(settings[1]) or tonumber(ARGV[4]) < tonumber(settings[2]) then
  return 'body'
end
local name, at = ARGV[2], K .. ':schedule:' .. ARGV[2]
local there = call('HMGET', at, 'version', 'created')
if (there[1] or '0') ~= ARGV[3] then
  return false
end
local version, created = ARGV[3] + 1, tonumber(there[2]) or now
call('HSET', at, 'format', 1, 'definition', ARGV[5], 'source', ARGV[6], 'paused', ARGV[7], 'next', ARGV[8],
  'version', version, 'created', created)
call('ZADD', K .. ':schedules', 0, name)
call('ZREM', K .. ':manual', name)
call('ZREM', K .. ':coded', name)
if ARGV[8] ~= '' then
  call('ZADD', K .. (ARGV[6] == 'manual' and ':manual' or ':coded'), ARGV[8], name)
end
return { version, created }
