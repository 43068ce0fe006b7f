-- uses: logs/log
-- How a group has changed, cheaply. Changes nothing.
--
-- ARGV[2] group
-- Returns the serial of its last change, nothing when it is not there; and that of the last of any group.
return { call('HGET', K .. ':group:' .. ARGV[2], 'changes'), call('HGET', K .. ':log', 'serial') }
