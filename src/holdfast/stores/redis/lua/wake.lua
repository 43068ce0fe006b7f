-- uses: queue
-- Put a wake-up back that could not be used, where there still is a reason for it.
--
-- ARGV[2…] lanes; an empty one stands for due times
for a = 2, #ARGV do
  local lane = ARGV[a]
  if lane == '' and call('EXISTS', K .. ':scheduled', K .. ':expiring') > 0 then
    call('ZADD', K .. ':wake', 0, 1)
  elseif lane ~= '' and call('EXISTS', K .. ':ready:' .. lane) == 1 then
    call('ZADD', K .. ':wake:' .. lane, 0, 1)
  end
end
return 1
