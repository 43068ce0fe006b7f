-- uses: logs/part
-- Let the next append have no offset below [3]: a group has read further than there is, as the server has lost the rest.
--
-- ARGV[2] life, [3] offset
local its = call('HMGET', K .. ':ends', 'life', 'first', 'next')
if its[1] == ARGV[2] and tonumber(its[3]) < tonumber(ARGV[3]) then
  call('HDEL', K .. ':ends', 'next')
  call('HSET', K .. ':ends', 'next', ARGV[3])
  if its[2] == its[3] then
    call('HSET', K .. ':ends', 'first', ARGV[3])
  end
end
return 1
