-- uses: logs/log
-- Take room for an append within the limit of a log, or give it back ([3] below 0), or put right what is taken.
--
-- ARGV[2] life, [3] bytes, [4] "1" to put it right, whatever the limit
-- Returns nothing for another life; else 1, or 0 when there is no room, and what is taken now.
local its = call('HMGET', K .. ':log', 'life', 'limit', 'used')
if its[1] ~= ARGV[2] then
  return false
end
local used = tonumber(its[3]) + ARGV[3]
if ARGV[4] ~= '1' and tonumber(ARGV[3]) > 0 and its[2] ~= '' and used > tonumber(its[2]) then
  return { 0, tonumber(its[3]) }
end
begin()
call('HSET', K .. ':log', 'used', used)
return { 1, used }
