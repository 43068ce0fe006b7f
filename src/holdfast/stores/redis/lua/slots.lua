-- uses: jobs
-- The slots of unique keys. Whether a job still has its slot follows from the job, as in machine/slots.py.
-- K:left  unique keys whose slot's job is gone, by when its `within` is over

local function slot_of(key)
  local found = call('HGET', K .. ':slots', key)
  if not found then
    return nil
  end
  local lasts, till, member = string.match(found, '^(%d+):(%a+):(.*)$')
  local slot = { lasts = tonumber(lasts), till = till, member = member, id = string.sub(member, 17) }
  local its = call('HMGET', K .. ':job:' .. slot.id, 'seq', 'state', 'expires')
  if its[1] and its[1] .. slot.id == member then
    slot.runs = its[2] == 'running' and till == 'done'
    slot.waits = (its[2] == 'ready' or its[2] == 'scheduled') and (not its[3] or tonumber(its[3]) > now)
  end
  return slot
end

local function is_held(slot)
  return slot.lasts > now or slot.runs or slot.waits
end

-- Let a job that comes back have its slot again; false when another has it.
local function take_slot(job)
  if not job.slot then
    return true
  end
  local lasts, till, key = string.match(job.slot, '^(%d+):(%a+):(.*)$')
  local slot = slot_of(key)
  if slot and slot.member ~= job.member and is_held(slot) then
    return false
  end
  if not slot or slot.member ~= job.member then
    call('HSET', K .. ':slots', key, lasts .. ':' .. till .. ':' .. job.member)
  end
  return true
end

-- Keep the slot of a job that is removed for as long as its `within` lasts.
local function leave_slot(job)
  local lasts, _, key = string.match(job.slot, '^(%d+):(%a+):(.*)$')
  local slot = slot_of(key)
  if slot and slot.member == job.member then
    if slot.lasts > now then
      call('ZADD', K .. ':left', lasts, key)
    else
      call('HDEL', K .. ':slots', key)
    end
  end
end
