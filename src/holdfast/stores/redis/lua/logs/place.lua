-- uses: logs/part
-- What the partition holds, and how much lies before some offsets. Changes nothing.
--
-- ARGV[2] life, [3…] offsets
-- Returns "stale"; or first, next, bytes, the time of the first append or -1, bytes ever written and dropped; and for
-- each offset the time of the append that has it or -1, and the bytes of data ever appended before it.
local its = call('HMGET', K .. ':ends', 'life', 'first', 'next', 'written', 'dropped')
if its[1] ~= ARGV[2] then
  return 'stale'
end
local following, written = tonumber(its[3]), tonumber(its[4])
local oldest = call('XRANGE', K .. ':index', '-', '+', 'COUNT', 1)[1]
local answer = { tonumber(its[2]), following, written - its[5], oldest and tonumber(oldest[2][2]) or -1, written,
  tonumber(its[5]) }
for a = 3, #ARGV do
  local offset = tonumber(ARGV[a])
  local append = offset < following and holding(':index', offset)
  if offset < following and (not append or base_of(append[1]) + count_of(append[1]) <= offset) then
    append = call('XRANGE', K .. ':index', ARGV[a], '+', 'COUNT', 1)[1] -- it lies in a gap, or before all there is
  end
  local found = append and append[2] or { 't', -1, 'w', its[4] }
  answer[#answer + 1] = tonumber(found[2])
  answer[#answer + 1] = tonumber(found[4])
end
return answer
