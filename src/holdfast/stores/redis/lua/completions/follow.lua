-- uses: advance, completions/watches
-- Keep a watch alive, drop what its client has read, and return what it has not.
--
-- ARGV[2] watch, [3] the time of its client in ms, [4] and [5] the two numbers of the entry that was read last,
-- [6] how many entries at the most
-- Returns nothing when the watch is not known (any more); else the entries, how many jobs are still to end, and in how
-- many ms the next job of the queue expires, or -1.
local watch, stream = ARGV[2], K .. ':watch:' .. ARGV[2]
if not call('ZSCORE', K .. ':watchers', watch) then
  return false
end
renew(watch, ARGV[3])
call('XTRIM', stream, 'MINID', string.format('%s-%.0f', ARGV[4], ARGV[5] + 1))
expire_over(1000)
tell()
local entries = call('XRANGE', stream, '-', '+', 'COUNT', ARGV[6])
return { entries, call('SCARD', K .. ':watching:' .. watch), expires_in() }
