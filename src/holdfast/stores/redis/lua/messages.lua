-- uses: advance
-- New messages, one after the other, with all that a message can have; the bulk of plain ones goes through send.lua.
--
-- K:settings  hash: json, and in ms or numbers what scripts need of it; a queue exists while it does
-- K:seq       counter: the number of the job sent last
-- K:token     the highest token of any job that was removed: new jobs, which may have its id, begin there. It outlives
--             everything else
-- K:jobs      members of all jobs, all of score 0: in the order of sending
-- K:body:<id> headers as JSON, a line feed, the body
-- K:lanes     set of the lanes there ever were
--
-- Messages come in groups that have all but id and body in common, as arguments:
--   count, delay in ms, due or empty, lane, priority, expires_in in ms or empty, key or empty,
--   unique key or empty, until, within in ms, on_conflict, how many fields, fields and values to be kept as they are,
--   and for each message its id and its body as in K:body
local KEPT = 12 -- where the number of fields stands in a group
local floor = call('GET', K .. ':token')

-- Return the group that begins at ARGV[a], and where the next begins.
local function group_at(a)
  local fields, due = tonumber(ARGV[a + KEPT - 1]), tonumber(ARGV[a + 2]) or now + ARGV[a + 1]
  local group = {
    count = tonumber(ARGV[a]), due = math.max(due, now), lane = ARGV[a + 3], priority = tonumber(ARGV[a + 4]),
    expires = ARGV[a + 5] ~= '' and now + ARGV[a + 5] or nil, key = ARGV[a + 6] ~= '' and ARGV[a + 6],
    unique = ARGV[a + 7] ~= '' and ARGV[a + 7], till = ARGV[a + 8], conflict = ARGV[a + 10],
    first = a + KEPT + fields, kept = { unpack(ARGV, a + KEPT, a + KEPT + fields - 1) },
  }
  group.lasts = ARGV[a + 9] == '0' and 0 or now + ARGV[a + 9]
  return group, group.first + 2 * group.count
end

-- Return what a new job of a group has besides its number, as fields and values.
local function fields_of(group)
  local fields = { 'state', group.due > now and 'scheduled' or 'ready', 'sent', whole(now), 'lane', group.lane }
  local function add(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  if floor then add('token', floor) end
  if group.due ~= now then add('due', whole(group.due)) end
  if group.priority ~= 0 then add('priority', group.priority) end
  if group.expires then add('expires', whole(group.expires)) end
  if group.key then add('key', group.key) end
  if group.unique then add('slot', whole(group.lasts) .. ':' .. group.till .. ':' .. group.unique) end
  for _, one in ipairs(group.kept) do
    fields[#fields + 1] = one
  end
  return fields
end

local function member_of(number, id)
  return string.format('%016d', number) .. id
end

local function is_known(id)
  return call('EXISTS', K .. ':job:' .. id) == 1 or call('HEXISTS', K .. ':plain', id) == 1
    or call('ZSCORE', K .. ':forgotten', id)
end

local function insert(group, id, body)
  local number = call('INCR', K .. ':seq')
  local member = member_of(number, id)
  call('HSET', K .. ':job:' .. id, 'seq', string.sub(member, 1, 16), unpack(fields_of(group)))
  call('SET', K .. ':body:' .. id, body)
  call('SADD', K .. ':lanes', group.lane)
  call('ZADD', K .. ':jobs', 0, member)
  if group.unique then
    call('HSET', K .. ':slots', group.unique,
      whole(group.lasts) .. ':' .. group.till .. ':' .. member)
  end
  if group.expires then
    expect(':expiring', group.expires, member)
  end
  if group.due > now then
    expect(':scheduled', group.due, member)
  else
    enter({ member = member, lane = group.lane, priority = group.priority, key = group.key, ready = now })
  end
end

-- Let a waiting job take over what a new message says, as machine/slots.py has it.
local function change(id, group, body)
  local job = load(id)
  local was, puts_off = job.state, group.conflict == 'debounce'
  withdraw(job)
  if puts_off and was == 'ready' and not job.started then
    leave(job)
  end
  call('HDEL', job.at, 'priority', 'most', 'timeout', 'expires')
  call('HSET', job.at, 'lane', group.lane, 'priority', group.priority)
  for i = 1, #group.kept, 2 do
    if group.kept[i] ~= 'unique' then
      call('HSET', job.at, group.kept[i], group.kept[i + 1])
    end
  end
  call('SET', K .. ':body:' .. id, body)
  call('SADD', K .. ':lanes', group.lane)
  job.lane, job.priority = group.lane, group.priority
  if group.expires then
    call('HSET', job.at, 'expires', group.expires)
    expect(':expiring', group.expires, job.member)
  end
  if puts_off then
    job.due, job.ready = group.due, group.due
    was = group.due > now and 'scheduled' or 'ready'
    call('HSET', job.at, 'state', was, 'due', group.due, 'ready', group.due)
  end
  if was == 'scheduled' then
    expect(':scheduled', job.due, job.member)
  elseif puts_off then
    enter(job)
  elseif not job.key or call('HGET', K .. ':keys', job.key) == job.member then
    stand(job.member, job.lane, job.priority, job.ready)
  end
end

-- Return what sending the groups from ARGV[a] to ARGV[last] comes to, as machine/slots.py plans it: a list of
-- {group, id, body, id of a job that changes or nil}, how many become jobs, and for each message the id of its job
-- when that was there already, else false.
local function plan(a, last)
  local steps, answers, new, known, slots = {}, {}, 0, {}, {}
  while a <= last do
    local group, following = group_at(a)
    for b = group.first, following - 1, 2 do
      local id, key = ARGV[b], group.unique
      if known[id] == nil then
        known[id] = is_known(id) and true or false
      end
      if key and not slots[key] then
        slots[key] = slot_of(key) or { lasts = 0 }
      end
      local slot = key and slots[key]
      if known[id] then
        answers[#answers + 1] = id
      elseif not slot or not is_held(slot) then
        known[id], new = true, new + 1
        steps[#steps + 1] = { group, id, ARGV[b + 1] }
        answers[#answers + 1] = false
        if key then
          slots[key] = { id = id, lasts = group.lasts, waits = not group.expires or group.expires > now }
        end
      else
        answers[#answers + 1] = slot.id
        if slot.waits and (group.conflict == 'replace' or group.conflict == 'debounce') then
          steps[#steps + 1] = { group, id, ARGV[b + 1], slot.id }
          slot.waits = not group.expires or group.expires > now
        end
      end
    end
    a = following
  end
  return steps, new, answers
end

local function carry_out(steps)
  for _, step in ipairs(steps) do
    if step[4] then
      change(step[4], step[1], step[3])
    else
      insert(step[1], step[2], step[3])
    end
  end
end
