-- uses: queue
-- When may a lease next find something? Changes nothing.
--
-- ARGV[2…] lanes
-- Returns 0 for now, else in how many ms something is due or expires (which may free a key), -1 for never, -2 while the
-- queue is paused.
if call('EXISTS', K .. ':paused') == 1 then
  return -2
end
for a = 2, #ARGV do
  if call('EXISTS', K .. ':ready:' .. ARGV[a]) == 1 then
    return 0
  end
end
local first
for _, what in ipairs({ ':scheduled', ':expiring' }) do
  local instant = tonumber(call('ZRANGE', K .. what, 0, 0, 'WITHSCORES')[2])
  if instant and (not first or instant < first) then
    first = instant
  end
end
return first and math.max(0, first - now) or -1
