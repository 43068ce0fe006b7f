-- uses: messages
-- Store messages without unique keys, whose ids are all different: the bulk path, a few calls for each.
--
-- ARGV[2]  "1" to hold them to the queue's limits, [3] the size of the largest body, [4] that of the smallest
-- ARGV[5…] groups, see messages.lua
-- Returns the positions of the messages whose ids were known, from 0; or why nothing was stored: "undeclared", "body",
-- or {"full", waiting, new}.
local AT_ONCE = 1000 -- Lua unpacks no more than 8 000 values
local settings = call('HMGET', K .. ':settings', 'max_body', 'min_body', 'limit')
if not settings[1] then
  return 'undeclared'
end
local limited = ARGV[2] == '1'
if limited and (tonumber(ARGV[3]) > tonumber(settings[1]) or tonumber(ARGV[4]) < tonumber(settings[2])) then
  return 'body'
end
local groups, ids, bodies, a = {}, {}, {}, 5
while a <= #ARGV do
  local group, following = group_at(a)
  groups[#groups + 1] = group
  for b = group.first, following - 1, 2 do
    local n, id = #ids + 1, ARGV[b]
    ids[n] = id
    bodies[2 * n - 1], bodies[2 * n] = K .. ':body:' .. id, ARGV[b + 1]
  end
  a = following
end

local known, duplicates = {}, {}

-- Return the ends of removed jobs that had these ids, and whether there were any.
local function ends_of(first, last)
  local ends, any = call('ZMSCORE', K .. ':forgotten', unpack(ids, first, last)), false
  for i = 1, last - first + 1 do any = any or ends[i] end
  return ends, any
end

-- Find out which of the messages from `first` to `last` are known.
local function look(first, last)
  local ends = ends_of(first, last)
  for i, plain in ipairs(call('HMGET', K .. ':plain', unpack(ids, first, last))) do
    local at = first + i - 1
    if plain or ends[i] or call('EXISTS', K .. ':job:' .. ids[at]) == 1 then
      known[at] = true
      duplicates[#duplicates + 1] = at - 1
    end
  end
end

-- Store the bodies of those that are new. Where nothing forbids it this is one command, which tells that none is known.
local remembers = call('EXISTS', K .. ':forgotten') == 1
local function keep_bodies(first, last, looked)
  if not looked then
    local any = remembers and select(2, ends_of(first, last))
    if not any and call('MSETNX', unpack(bodies, 2 * first - 1, 2 * last)) == 1 then
      return
    end
    look(first, last)
  end
  for i = first, last do
    if not known[i] then
      call('SET', bodies[2 * i - 1], bodies[2 * i])
    end
  end
end

local looks = settings[3]
if looks then
  for first = 1, #ids, AT_ONCE do
    look(first, math.min(first + AT_ONCE - 1, #ids))
  end
  local new = #ids - #duplicates
  if limited and new > 0 then
    local limit = tonumber(settings[3])
    local there = waiting_now(limit - new)
    if there + new > limit then
      tell()
      return { 'full', there, new }
    end
  end
end
for first = 1, #ids, AT_ONCE do
  keep_bodies(first, math.min(first + AT_ONCE - 1, #ids), looks)
end
local new = #ids - #duplicates
if new == 0 then
  write_nothing()
  return duplicates
end
local number = call('INCRBY', K .. ':seq', new) - new
local members, places, texts = {}, {}, {}

-- Put down what has gathered: these commands take many at a time.
local function write(group, is_ready)
  if #members == 0 then
    return
  end
  if #texts > 0 then
    call('HSET', K .. ':plain', unpack(texts))
  end
  call('ZADD', K .. ':jobs', unpack(members))
  if not (group.key and is_ready) then
    call('ZADD', K .. (is_ready and ':ready:' .. group.lane or ':scheduled'), unpack(places))
  end
  if group.expires then
    local expires = whole(group.expires)
    for i = 1, #places, 2 do places[i] = expires end
    call('ZADD', K .. ':expiring', unpack(places))
  end
  members, places, texts = {}, {}, {}
end

-- What is the same in the texts of a group's jobs (plain.lua): what precedes the number, what follows it.
local function text_of(group)
  local kept = { most = '', timeout = '' }
  for a = 1, #group.kept, 2 do kept[group.kept[a]] = group.kept[a + 1] end
  local facts = plain_facts(whole(now), group.priority, kept.most, kept.timeout, group.lane)
  return facts and plain_head('r', floor or 0), facts
end

local i = 0
for _, group in ipairs(groups) do
  local is_ready = group.due <= now
  local head, facts, fields
  if is_ready and not group.key and not group.expires then
    head, facts = text_of(group)
  end
  if not head then
    fields = fields_of(group)
  end
  local score = whole(is_ready and (100 - group.priority) * SPAN + now or group.due)
  call('SADD', K .. ':lanes', group.lane)
  if not is_ready or group.expires then
    -- Whoever waits for the first due time or expiry must look again when this is earlier.
    for what, instant in pairs({ [':scheduled'] = not is_ready and group.due or nil, [':expiring'] = group.expires }) do
      local first = call('ZRANGE', K .. what, 0, 0, 'WITHSCORES')[2]
      if not first or instant < tonumber(first) then
        call('ZADD', K .. ':wake', 0, 1)
      end
    end
  end
  if is_ready and not group.key then
    mark(group.lane)
  end
  local n = 0
  for _ = 1, group.count do
    i = i + 1
    if not known[i] then
      number = number + 1
      local seq = string.format('%016d', number)
      local member = seq .. ids[i]
      if head then
        texts[n + 1], texts[n + 2] = ids[i], head .. seq .. facts
      else
        call('HSET', K .. ':job:' .. ids[i], 'seq', seq, unpack(fields))
      end
      members[n + 1], members[n + 2] = '0', member
      places[n + 1], places[n + 2] = score, member
      n = n + 2
      if is_ready and group.key then
        enter({ member = member, lane = group.lane, priority = group.priority, key = group.key, ready = now })
      end
      if n == 2 * AT_ONCE then
        write(group, is_ready)
        n = 0
      end
    end
  end
  write(group, is_ready)
end
tell()
return duplicates
