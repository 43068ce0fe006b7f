-- uses: store
-- Note that a holder leases in a queue, before that queue is told of the holder: whoever ends it will go there.
--
-- ARGV[2] holder, [3] queue
-- Returns 0 when it never beat or has ended.
if not call('ZSCORE', S .. ':beats', ARGV[2]) then
  return 0
end
if ARGV[3] ~= '' then
  begin()
  call('SADD', S .. ':with:' .. ARGV[2], ARGV[3])
end
return 1
