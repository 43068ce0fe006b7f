-- uses: store
-- Which of these holders, each of whom leases in some queue, are not holders of the store? One may have ended where its
-- queue did not hear of it; or a failover lost what the store knew of it, and it beats again soon if it lives.
--
-- S:missing  holders that a queue knows and the store does not, by when that was first seen
-- ARGV[2]  after how many ms one that is missing counts as dead, [3…] holders
-- Returns those whose jobs are to be taken back.
local orphans = {}
begin()
for a = 3, #ARGV do
  local holder = ARGV[a]
  local since = tonumber(call('ZSCORE', S .. ':missing', holder))
  if call('ZSCORE', S .. ':beats', holder) then
    if since then call('ZREM', S .. ':missing', holder) end
  elseif call('HEXISTS', S .. ':ending', holder) == 0 then
    if call('ZSCORE', S .. ':ended', holder) or (since and boot - since >= tonumber(ARGV[2])) then
      orphans[#orphans + 1] = holder
      call('ZREM', S .. ':missing', holder)
      call('ZADD', S .. ':ended', boot, holder)
    elseif not since then
      call('ZADD', S .. ':missing', boot, holder)
    end
  end
end
return orphans
