-- uses: logs/part
-- Where an append begins, found by bisection in the index. Changes nothing.
--
-- ARGV[2] life, [3] "first" or "last", [4] "t", "w" or "o", [5] a time, bytes ever appended before, or an offset
-- Returns "stale"; or, of "first", the offset at which the first append begins whose t, w or o is that or more, else the
-- end; of "last" that of the last one (or the end) whose is that or less, else the first. And the bytes before it.
local its = call('HMGET', K .. ':ends', 'life', 'first', 'next', 'written')
if its[1] ~= ARGV[2] then
  return 'stale'
end
local field, wanted = ARGV[4], tonumber(ARGV[5])
local is_last = ARGV[3] == 'last'

local function value(append)
  if field == 'o' then
    return base_of(append[1])
  end
  return tonumber(append[2][field == 't' and 2 or 4])
end

local end_ = { tonumber(its[3]), tonumber(its[4]) }
if is_last and (field == 'o' and wanted >= end_[1] or field == 'w' and wanted >= end_[2]) then
  return end_
end
if is_last then
  wanted = wanted + 1
end
local low, high, found = tonumber(its[2]), end_[1], nil
while low < high do
  local middle = math.floor((low + high) / 2)
  local append = holding(':index', middle)
  if not append then
    low = middle + 1
  elseif value(append) >= wanted then
    high, found = base_of(append[1]), append
  else
    low = math.max(middle + 1, base_of(append[1]) + count_of(append[1]))
  end
end
if is_last then
  found = holding(':index', high - 1) or found
end
if found then
  return { base_of(found[1]), tonumber(found[2][4]) }
end
return end_
