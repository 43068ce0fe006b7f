-- uses: store
-- Keep a command for a living holder.
--
-- ARGV[2] holder, [3] command
-- Returns 0 when no such holder lives.
if not call('ZSCORE', S .. ':beats', ARGV[2]) then
  return 0
end
begin()
call('HSET', S .. ':commands', ARGV[2], ARGV[3])
return 1
