-- uses: slots
-- Running jobs: how each goes on when its run ends, as in machine/moves.py.
-- K:runs:<id>  list of a job's failed runs, each a JSON array; of all runs the first two and the last eight

-- Return the run that is ending, to be kept once its end is written down; `failure` is JSON.
local function run_of(job, outcome, failure)
  local run = { whole(job.attempts), cjson.encode(job.holder or ''), job.started or whole(now), whole(now),
    cjson.encode(outcome), failure }
  return '[' .. table.concat(run, ',') .. ']'
end

local function note(job, run)
  local runs = K .. ':runs:' .. job.id
  if call('RPUSH', runs, run) > 10 then
    call('LSET', runs, 2, '')
    call('LREM', runs, 1, '')
  end
end

-- Put a running job where the rules send it.
local function put(job, state, reason)
  call('ZREM', K .. ':running', job.member)
  if job.cancel then
    call('SREM', K .. ':cancelling', job.id)
  end
  if state ~= 'ready' and state ~= 'scheduled' then
    call('HSET', job.at, 'attempts', job.attempts, 'crashes', job.crashes)
    finish(job, state, now, reason)
    return
  end
  call('HDEL', job.at, 'lease')
  call('HSET', job.at, 'state', state, 'attempts', job.attempts, 'crashes', job.crashes, 'due', job.due,
    'ready', job.ready)
  job.state = state
  take_slot(job)
  if job.expires then
    expect(':expiring', job.expires, job.member)
  end
  if state == 'scheduled' then
    expect(':scheduled', job.due, job.member)
  else
    enter(job)
  end
end

-- A job that goes back; one that was asked to be cancelled does not run again.
local function put_back(job, state)
  if job.cancel then
    put(job, 'cancelled', job.cancel)
  else
    put(job, state)
  end
end

-- Charge a run that nobody ended in order with its attempt, and with a crash if it was one.
local function put_charged(job, reason, crashed)
  local run = run_of(job, crashed and 'crashed' or 'lost', '{"type":"","message":' .. cjson.encode(reason) .. '}')
  job.crashes = job.crashes + (crashed and 1 or 0)
  if not job.cancel and (job.crashes >= 3 or (job.most and job.attempts >= job.most)) then
    put(job, 'dead', reason)
  else
    put_back(job, 'ready')
  end
  note(job, run)
end
