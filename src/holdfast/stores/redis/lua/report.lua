-- uses: plain
-- Keep what runs report.
--
-- ARGV[2…]  for each: id, token, the report as the beginning of a JSON array
-- Returns the positions of those that were lost, from 0.
local lost = {}
begin()
for a = 2, #ARGV, 3 do
  local at = K .. ':job:' .. ARGV[a]
  unfold(ARGV[a])
  local f = call('HMGET', at, 'state', 'token')
  if f[1] == 'running' and f[2] == ARGV[a + 1] then
    call('HSET', at, 'progress', '[' .. f[2] .. ',' .. ARGV[a + 2] .. string.format(',%.0f]', now))
  else
    lost[#lost + 1] = (a - 2) / 3
  end
end
return lost
