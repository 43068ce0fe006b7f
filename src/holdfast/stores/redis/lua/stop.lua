-- uses: slots

-- Cancel a job that waits, ask for one that runs; return it as it is then, or nothing when it is not known.
local function stop(id, reason)
  local job = current(id)
  if job and (job.state == 'ready' or job.state == 'scheduled') then
    withdraw(job)
    finish(job, 'cancelled', now, reason)
  elseif job and job.state == 'running' and not job.cancel then
    call('SADD', K .. ':cancelling', job.id)
    call('HSET', job.at, 'cancel', reason)
  end
  return job
end
