-- uses: queue
-- Remove a schedule with its ticks.
--
-- ARGV[2] name
-- Returns whether there was one.
local name = ARGV[2]
call('ZREM', K .. ':manual', name)
call('ZREM', K .. ':coded', name)
call('DEL', K .. ':schedule:' .. name, K .. ':ticks:' .. name, K .. ':open:' .. name)
return call('ZREM', K .. ':schedules', name)
