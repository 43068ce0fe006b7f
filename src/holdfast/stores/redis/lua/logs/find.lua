-- uses: logs/part
-- Where appends begin, found by bisection in the index. Changes nothing.
--
-- ARGV[2] life, [3] "first" or "last", [4] "t", "w" or "o", [5…] times, bytes ever appended before, or offsets, rising
-- Returns "stale"; or for each value a pair. Of "first", the offset at which the first append begins whose t, w or o is
-- that or more, else the end; of "last" that of the last one (or the end) whose is that or less, else the first. And the
-- bytes before it.
local its = call('HMGET', K .. ':ends', 'life', 'first', 'next', 'written')
if its[1] ~= ARGV[2] then
  return 'stale'
end
local field, is_last = ARGV[4], ARGV[3] == 'last'
local first, behind = tonumber(its[2]), { tonumber(its[3]), tonumber(its[4]) }
local wanted, found = {}, {}
for a = 5, #ARGV do
  wanted[#wanted + 1] = tonumber(ARGV[a]) + (is_last and 1 or 0)
end

local function value(append)
  if field == 'o' then
    return base_of(append[1])
  end
  return tonumber(append[2][field == 't' and 2 or 4])
end

local function pair(append)
  return { base_of(append[1]), tonumber(append[2][4]) }
end

-- The first append from an offset on whose value is that or more, if it lies before another pair; else that.
local function first_of(least, low, high)
  while low < high[1] do
    local middle = math.floor((low + high[1]) / 2)
    local append = holding(':index', middle)
    if not append then
      low = middle + 1
    elseif value(append) >= least then
      high = pair(append)
    else
      low = math.max(middle + 1, base_of(append[1]) + count_of(append[1]))
    end
  end
  return high
end

-- What lies between others is looked for between those.
local function spread(a, b, low, high)
  if a <= b then
    local middle = math.floor((a + b) / 2)
    found[middle] = first_of(wanted[middle], low, high)
    spread(a, middle - 1, low, found[middle])
    spread(middle + 1, b, found[middle][1], high)
  end
end

spread(#wanted, #wanted, first, behind)
spread(1, #wanted - 1, first, found[#wanted])
if is_last then
  for i, before in ipairs(found) do
    local append = before[1] > 0 and holding(':index', before[1] - 1)
    if field == 'o' and wanted[i] > behind[1] or field == 'w' and wanted[i] > behind[2] then
      found[i] = behind
    elseif append then
      found[i] = pair(append)
    end
  end
end
return found
