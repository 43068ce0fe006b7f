-- Takes finished entries of a foreign stream off the list of its group, and deletes them if that is wanted.
--
-- KEYS[1]   the stream
-- ARGV      group, consumer, "1" to delete, ids
--
-- What another consumer has by now stays as it is: those ids are returned. What nobody has was committed before.
local stream, group, consumer = KEYS[1], ARGV[1], ARGV[2]
local own, lost = {}, {}
for i = 4, #ARGV do
  local one = redis.call('XPENDING', stream, group, ARGV[i], ARGV[i], 1)[1]
  if one and one[2] ~= consumer then lost[#lost + 1] = ARGV[i] else own[#own + 1] = ARGV[i] end
end
if #own > 0 then
  redis.call('XACK', stream, group, unpack(own))
  if ARGV[3] == '1' then redis.call('XDEL', stream, unpack(own)) end
end
return lost
