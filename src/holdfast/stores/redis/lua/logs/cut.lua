-- uses: logs/part
-- Drop whole appends that lie below an offset, a bounded number of them.
--
-- ARGV[2] life, [3] offset, [4] how many appends, [5] how many bytes (one append goes in any case)
-- Returns messages, bytes and appends dropped, and 1 if there are more.
local its = call('HMGET', K .. ':ends', 'life', 'first', 'written', 'dropped')
local offset, most = tonumber(ARGV[3]), tonumber(ARGV[4])
if its[1] ~= ARGV[2] or offset <= tonumber(its[2]) then
  return { 0, 0, 0, 0 }
end
local first, before = tonumber(its[2]), tonumber(its[4])
local number, goal, dropped, more = 0, first, before, 0
local appends = call('XRANGE', K .. ':index', '-', '+', 'COUNT', most + 1)
for i, append in ipairs(appends) do
  local behind = base_of(append[1]) + count_of(append[1])
  local upto = tonumber(appends[i + 1] and appends[i + 1][2][4] or its[3])
  if behind > offset then
    break
  end
  if number >= most or (number > 0 and upto - before > tonumber(ARGV[5])) then
    more = 1
    break
  end
  number, goal, dropped = number + 1, behind, upto
end
if number > 0 then
  local id = string.format('%.0f-0', goal)
  call('XTRIM', K .. ':messages', 'MINID', '=', id)
  call('XTRIM', K .. ':index', 'MINID', '=', id)
  call('HSET', K .. ':ends', 'first', goal, 'dropped', dropped)
end
return { goal - first, dropped - before, number, more }
