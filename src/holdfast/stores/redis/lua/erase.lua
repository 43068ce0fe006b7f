-- uses: slots
-- Removing jobs for good; their ids stay known.
-- K:forgotten  ids of removed jobs by their end, or by when they were removed
-- K:token      the highest token of any job that was removed: see messages.lua
local highest = tonumber(call('GET', K .. ':token') or 0)

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
  local token = tonumber(job.token) or 0
  if token > highest then
    highest = token
    call('SET', K .. ':token', token)
  end
end
