-- uses: slots
-- Let ended jobs run again.
--
-- ARGV[2] replay or reload, [3…] ids
-- Returns for each "moved", "duplicate" (another job has its slot) or "left" (it is not in a state for this).
local REVIVABLE = { dead = true, cancelled = true, expired = true }
local verb, answers = ARGV[2], {}
write_nothing()
for a = 3, #ARGV do
  local job, answer = current(ARGV[a]), 'left'
  if job and REVIVABLE[job.state] then
    answer = 'duplicate'
    if take_slot(job) or verb == 'reload' then
      answer = 'moved'
      call('ZREM', K .. ':' .. job.state, job.member)
      call('HDEL', job.at, 'expires', 'ended', 'started', 'reason')
      if verb == 'replay' then
        call('HDEL', job.at, 'attempts', 'crashes')
      elseif job.most then
        call('HSET', job.at, 'most', job.attempts + 1)
      end
      -- at the tail, behind all that is ready at this very ms
      job.due, job.ready = now, now + 1
      call('HSET', job.at, 'state', 'ready', 'due', job.due, 'ready', job.ready)
      enter(job)
    end
  end
  answers[#answers + 1] = answer
end
tell()
return answers
