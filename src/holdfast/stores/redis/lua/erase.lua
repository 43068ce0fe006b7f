-- uses: slots
-- Removing jobs for good; their ids stay known.
-- K:forgotten  ids of removed jobs by their end, or by when they were removed
-- K:token      the highest token of any job that was removed: see messages.lua
local highest = tonumber(call('GET', K .. ':token') or 0)

local ERASED_AT_ONCE = 1000 -- Lua unpacks no more than 8 000 values

local function raise(token)
  token = tonumber(token) or 0
  if token > highest then
    highest = token
    call('SET', K .. ':token', token)
  end
end

-- Remove a job that does not run.
local function erase(job)
  local ended = call('HGET', job.at, 'ended')
  if job.state == 'ready' or job.state == 'scheduled' then
    withdraw(job)
    leave(job)
  end
  if not ended then
    ended_ids[#ended_ids + 1] = job.id
  else
    call('ZREM', K .. ':' .. job.state, job.member)
    if job.state == 'done' then
      call('ZREM', K .. ':kept', job.member)
    end
  end
  call('ZREM', K .. ':jobs', job.member)
  call('DEL', job.at, K .. ':body:' .. job.id, K .. ':runs:' .. job.id)
  if job.slot then
    leave_slot(job)
  end
  call('ZADD', K .. ':forgotten', ended or now, job.id)
  raise(job.token)
end

-- Remove the first `number` jobs of a state that is an end, a few commands for all of them.
local function erase_first(state, number)
  local places = call('ZRANGE', K .. ':' .. state, 0, number - 1, 'WITHSCORES')
  for first = 1, #places, 2 * ERASED_AT_ONCE do
    local members, ids, keys, forgotten, slots = {}, {}, {}, {}, {}
    for i = first, math.min(first + 2 * ERASED_AT_ONCE, #places + 1) - 1, 2 do
      local n = #members + 1
      members[n], ids[n] = places[i], string.sub(places[i], 17)
      forgotten[2 * n - 1], forgotten[2 * n] = places[i + 1], ids[n]
    end
    for i, text in ipairs(call('HMGET', K .. ':plain', unpack(ids))) do
      local id = ids[i]
      keys[#keys + 1] = K .. ':body:' .. id
      if text then
        raise(string.sub(text, 2, 17))
      else
        local at = K .. ':job:' .. id
        local its = call('HMGET', at, 'token', 'slot')
        keys[#keys + 1], keys[#keys + 2] = at, K .. ':runs:' .. id
        raise(its[1])
        if its[2] then
          slots[#slots + 1] = { member = members[i], slot = its[2] }
        end
      end
    end
    call('ZREM', K .. ':' .. state, unpack(members))
    call('ZREM', K .. ':jobs', unpack(members))
    call('HDEL', K .. ':plain', unpack(ids))
    call('DEL', unpack(keys))
    call('ZADD', K .. ':forgotten', unpack(forgotten))
    for _, job in ipairs(slots) do
      leave_slot(job)
    end
  end
end
