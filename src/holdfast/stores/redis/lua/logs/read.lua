-- uses: logs/part
-- What lies from an offset on: whole appends, until there is enough. Changes nothing.
--
-- ARGV[2] life, [3] offset, [4] messages, [5] bytes of data
-- Returns "stale"; or first, next, n of the last append that begins before the offset (empty when none is there): it
-- tells a partition whose tail was lost from one that was not; and of each append: id, t, a, d, n.
local its = call('HMGET', K .. ':ends', 'life', 'first', 'next', 'most')
if its[1] ~= ARGV[2] then
  return 'stale'
end
local answer = { tonumber(its[2]), tonumber(its[3]), '' }
local offset, messages, bytes = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local before = offset > 0 and offset <= answer[2] and holding(':index', offset - 1)
if before then
  answer[3] = before[2][6]
end
if offset < answer[1] or offset >= answer[2] or messages < 1 then
  return answer
end
local from, size = 3, math.max(1, tonumber(its[4]))

local function add(append)
  local fields = append[2]
  answer[from + 1], answer[from + 2], answer[from + 3] = append[1], fields[2], fields[4]
  answer[from + 4], answer[from + 5] = fields[6], fields[8]
  from = from + 5
  messages = messages - count_of(append[1])
  bytes = bytes - #fields[6]
end

if before and base_of(before[1]) + count_of(before[1]) > offset then
  add(call('XRANGE', K .. ':messages', before[1], before[1])[1])
  messages = messages + offset - base_of(before[1])
  offset = base_of(before[1]) + count_of(before[1])
end
local start, step = string.format('%.0f', offset), 1
while messages > 0 and (bytes > 0 or from == 3) do
  local found = call('XRANGE', K .. ':messages', start, '+', 'COUNT', step)
  for _, append in ipairs(found) do
    add(append)
  end
  if #found < step then
    break
  end
  start = '(' .. found[#found][1]
  -- As many as there are messages wanted, if they are like those before; no more than surely fit.
  local each = (tonumber(ARGV[4]) - messages) / (from - 3) * 5
  step = math.max(1, math.min(math.ceil(messages / each), math.floor(bytes / size), 1000))
end
return answer
