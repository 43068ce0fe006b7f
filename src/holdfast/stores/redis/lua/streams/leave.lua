-- Removes a consumer who has nothing any more; one who has keeps it for whoever takes it over.
--
-- KEYS[1]   the stream
-- ARGV      group, consumer
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) == 0 then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
end
