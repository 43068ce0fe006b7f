-- uses: advance
-- Grant ready jobs to a holder.
--
-- K:paused   there while the queue is paused
-- K:holders  hash: the number of each holder that leases here
-- K:numbers  counter: the number of the holder that came last
-- K:gone     holders that have ended, by when: none of them may come back
-- K:returned leases that were given back without their answer having come, by when: one that comes late grants nothing
-- ARGV[2] holder, [3] lease id, [4] at most so many, [5] "1" to introduce the holder, [6…] lanes
-- Returns the time, the jobs and, in the same order, their bodies and ids; or "unknown" (the queue), "who" (is this
-- holder?), "gone" (it has ended). A job is either: attempts, token, sent, key, crashes, most, timeout, priority, due, ready,
-- lane by its place among the arguments from 0; or, where it is plain, what it was before (plain.lua).
local AT_ONCE = 1000
local holder, lease_id, limit, started = ARGV[2], ARGV[3], tonumber(ARGV[4]), whole(now)
if call('EXISTS', K .. ':settings') == 0 then
  return 'unknown'
end
local number = call('HGET', K .. ':holders', holder)
if not number and ARGV[5] ~= '1' then
  return 'who'
end
if not number and call('ZSCORE', K .. ':gone', holder) then
  return 'gone'
end
if call('ZSCORE', K .. ':returned', lease_id) then
  return { now, {}, {}, {} }
end
begin()
if not number then
  number = call('INCR', K .. ':numbers')
  call('HSET', K .. ':holders', holder, number)
end
advance(1000)
if call('EXISTS', K .. ':paused') == 1 then
  tell()
  return { now, {}, {}, {} }
end

-- Take up to `most` members from the lanes, best first; and of each the place of its lane among the arguments.
local function taken_from_one(lane, most)
  local key = K .. ':ready:' .. ARGV[lane]
  local members, lanes = call('ZRANGE', key, 0, most - 1), {}
  call('ZREMRANGEBYRANK', key, 0, #members - 1)
  for i = 1, #members do lanes[i] = lane end
  return members, lanes
end

local is_left = {} -- by place of a lane: whether there are jobs in it still, as far as that is known

-- Several lanes stand in a heap by their first members; each is read only as far as it contributes.
local function is_before(a, b)
  return a.score < b.score or (a.score == b.score and a.member < b.member)
end

local function sink(heads, i)
  local head, n = heads[i], #heads
  while 2 * i <= n do
    local child = 2 * i
    if child < n and is_before(heads[child + 1], heads[child]) then
      child = child + 1
    end
    if not is_before(heads[child], head) then
      break
    end
    heads[i], i = heads[child], child
  end
  heads[i] = head
end

-- Let a lane stand with its next member; false when there is none.
local function follow(head, step)
  head.at = head.at + 2
  if head.at > #head.some then
    if head.is_last then
      return false
    end
    head.some = call('ZRANGE', K .. ':ready:' .. ARGV[head.lane], head.base, head.base + step - 1, 'WITHSCORES')
    head.at, head.base, head.is_last = 1, head.base + step, #head.some < 2 * step
  end
  head.member, head.score = head.some[head.at], tonumber(head.some[head.at + 1])
  return head.member
end

local function taken_from_many(heads, most)
  local step, members, lanes, counts = math.min(most, math.ceil(most / #heads) + 1), {}, {}, {}
  for i = #heads, 1, -1 do
    sink(heads, i)
  end
  for n = 1, most do
    local head = heads[1]
    members[n], lanes[n] = head.member, head.lane
    counts[head.lane] = (counts[head.lane] or 0) + 1
    if n < most and not follow(head, step) then
      heads[1] = heads[#heads]
      heads[#heads] = nil
    end
    if #heads == 0 then
      break
    end
    sink(heads, 1)
  end
  for lane, count in pairs(counts) do
    call('ZREMRANGEBYRANK', K .. ':ready:' .. ARGV[lane], 0, count - 1)
  end
  for i = 2, #heads do
    is_left[heads[i].lane] = true -- with the member by which it stands here
  end
  return members, lanes
end

local function taken(most)
  is_left = {}
  if #ARGV == 6 then
    return taken_from_one(6, most)
  end
  local heads = {}
  for lane = 6, #ARGV do
    local some = call('ZRANGE', K .. ':ready:' .. ARGV[lane], 0, 0, 'WITHSCORES')
    if some[1] then
      heads[#heads + 1] = { lane = lane, some = some, at = 1, base = 1, member = some[1], score = tonumber(some[2]) }
    else
      is_left[lane] = false
    end
  end
  if #heads == 0 then
    return {}, {}
  elseif #heads == 1 then
    return taken_from_one(heads[1].lane, most)
  end
  return taken_from_many(heads, most)
end

local jobs, bodies, granted, wanted, running, over = {}, {}, {}, {}, {}, {}

local function take(id, member, job)
  local n = #granted + 1
  granted[n], jobs[n], wanted[n] = id, job, K .. ':body:' .. id
  running[2 * n - 1], running[2 * n] = number, member
end

local function grant_other(id, member, lane)
  local at = K .. ':job:' .. id
  local f = call('HMGET', at, 'attempts', 'token', 'sent', 'key', 'crashes', 'most', 'timeout', 'priority', 'due', 'ready',
    'expires')
  local expires = f[11] and tonumber(f[11])
  if not f[3] then
    forget(member)
  elseif expires and expires <= now then
    over[#over + 1] = id
  else
    if expires then
      call('ZREM', K .. ':expiring', member)
    end
    -- What was read is what is answered, but for what is new.
    f[1], f[2], f[11] = (f[1] or 0) + 1, (f[2] or 0) + 1, lane
    call('HSET', at, 'state', 'running', 'token', f[2], 'attempts', f[1], 'holder', holder, 'lease', lease_id, 'started',
      started)
    take(id, member, f)
  end
end

local grant_text = '\n' .. started .. ' ' .. #lease_id .. ' ' .. lease_id .. holder
local heads = setmetatable({}, { __index = function(heads, before)
  heads[before] = string.sub(before, 1, 1) == 'r' and plain_head('g', string.sub(before, 2) + 1)
  return heads[before]
end })

local function grant(members, lanes)
  local ids, plain = {}, {}
  for i, member in ipairs(members) do ids[i] = string.sub(member, 17) end
  for i, text in ipairs(call('HMGET', K .. ':plain', unpack(ids))) do
    local id, head = ids[i], text and heads[string.sub(text, 1, 17)]
    if head then
      local n = #plain
      plain[n + 1], plain[n + 2] = id, head .. string.sub(text, 18) .. grant_text
      take(id, members[i], text)
    else
      if text then unfold(id) end
      grant_other(id, members[i], lanes[i] - 6)
    end
  end
  if #plain > 0 then
    call('HSET', K .. ':plain', unpack(plain))
  end
end

while #granted < limit do
  local members, lanes = taken(math.min(limit - #granted, AT_ONCE))
  if #members == 0 then
    break
  end
  grant(members, lanes)
  for _, id in ipairs(over) do -- what they held may stand in a lane now
    expire(load(id))
  end
  over = {}
end
for first = 1, #granted, AT_ONCE do
  local last = math.min(first + AT_ONCE - 1, #granted)
  call('ZADD', K .. ':running', unpack(running, 2 * first - 1, 2 * last))
  for i, body in ipairs(call('MGET', unpack(wanted, first, last))) do
    bodies[first + i - 1] = body
  end
end

-- Others are to be told of what is left here, and of the next due time if they left it to this one.
local empty = {}
for lane = 6, #ARGV do
  local left = is_left[lane]
  if left == nil or marked[ARGV[lane]] then
    left = call('EXISTS', K .. ':ready:' .. ARGV[lane]) == 1
  end
  if left then
    call('ZADD', K .. ':wake:' .. ARGV[lane], 0, 1)
  else
    empty[#empty + 1] = K .. ':wake:' .. ARGV[lane]
  end
  if #empty == AT_ONCE or (#empty > 0 and lane == #ARGV) then
    call('DEL', unpack(empty))
    empty = {}
  end
end
if #granted > 0 and call('EXISTS', K .. ':scheduled', K .. ':expiring') > 0 then
  call('ZADD', K .. ':wake', 0, 1)
end
tell()
return { now, jobs, bodies, granted }
