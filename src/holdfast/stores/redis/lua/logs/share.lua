-- uses: logs/log
-- Where a member stands. With "share" it first lets go of what it has too much of, and takes what is free up to its share.
--
-- ARGV[2] group, [3] its number, [4] member, [5] its holder, [6] "look" or "share", [7] how many members have ended,
-- followed by these, and by the partitions that the member is busy with
-- Returns "removed"; or changes, serial, 1 if it is registered, partitions, how many are nobody's, the number of other
-- members, each with its holder, and of each partition held: number, next, version, finished, begun.
local group, member = ARGV[2], ARGV[4]
local its = load(group, ARGV[3])
if not its then
  return 'removed'
end
local at, count = K .. ':group:' .. group, partitions()

local function members()
  local flat, others, is_registered = call('HGETALL', K .. ':members:' .. group), {}, false
  for i = 1, #flat, 2 do
    if flat[i] == member then
      is_registered = true
    else
      others[#others + 1] = tonumber(flat[i])
      others[#others + 1] = flat[i + 1]
    end
  end
  return others, is_registered
end

local function shares()
  local held, free = {}, {}
  for i = 0, count - 1 do
    local owner = its['o' .. i]
    if owner == member then
      held[#held + 1] = i
    elseif not owner then
      free[#free + 1] = i
    end
  end
  return held, free
end

local others, is_registered = members()
if ARGV[6] == 'share' then
  begin()
  local is_changed, dead = false, tonumber(ARGV[7])
  for a = 8, 7 + dead do
    dismiss(group, its, ARGV[a])
    is_changed = true
  end
  if not is_registered then
    call('HSET', K .. ':members:' .. group, member, ARGV[5])
    is_changed = true
  end
  others, is_registered = members()
  local busy = {}
  for a = 8 + dead, #ARGV do
    busy[tonumber(ARGV[a])] = true
  end
  local held, free = shares()
  local share = math.ceil(count / (#others / 2 + 1))
  local number = #held
  for i = #held, 1, -1 do
    if number > share and not busy[held[i]] then
      call('HDEL', at, 'o' .. held[i])
      its['o' .. held[i]] = nil
      number = number - 1
      is_changed = true
    end
  end
  if #held <= share then
    for i = 1, math.min(#free, share - #held) do
      local version = new_serial()
      call('HSET', at, 'o' .. free[i], member, 'v' .. free[i], version)
      its['o' .. free[i]], its['v' .. free[i]] = member, version
      is_changed = true
    end
  end
  call('HSET', at, 'seen', boot)
  if is_changed then
    changed(group)
    its.changes = call('HGET', at, 'changes')
  end
end
local held, free = shares()
local answer = { tonumber(its.changes), tonumber(call('HGET', K .. ':log', 'serial')), is_registered and 1 or 0, count,
  #free, #others / 2, unpack(others) }
for _, i in ipairs(held) do
  answer[#answer + 1] = i
  answer[#answer + 1] = tonumber(its['n' .. i]) or 0
  answer[#answer + 1] = tonumber(its['v' .. i])
  answer[#answer + 1] = its['f' .. i] or ''
  answer[#answer + 1] = tonumber(its['b' .. i] or its.number)
end
return answer
