-- uses: logs/log
-- What is kept of crashes at a message, written if what was there is still so.
--
-- ARGV[2] group, [3] partition, [4] offset, [5] what was there, or empty; [6] what is to be, or empty only to look
-- Returns "no group"; or what is there now, or empty; the place, and what is finished beyond (JSON, or empty).
local at, message = K .. ':crashes:' .. ARGV[2], ARGV[3] .. ':' .. ARGV[4]
local its = load(ARGV[2])
if not its then
  return 'no group'
end
local there = call('HGET', at, message) or ''
if ARGV[6] ~= '' and there == ARGV[5] then
  begin()
  call('HSET', at, message, ARGV[6])
  there = ARGV[6]
end
return { there, tonumber(its['n' .. ARGV[3]]) or 0, its['f' .. ARGV[3]] or '' }
