-- uses: slots
-- What time alone does: jobs expire and become due.

-- Write down up to `limit` expiries and return how many.
local function expire_over(limit)
  local over = call('ZRANGEBYSCORE', K .. ':expiring', '-inf', now, 'LIMIT', 0, limit)
  for _, member in ipairs(over) do
    local job = job_of(member, ':expiring')
    if job then
      expire(job)
    end
  end
  return #over
end

-- Write down up to `limit` expiries, make up to `limit` due jobs ready, oldest due first; return how many of each.
local function advance(limit)
  local expired = expire_over(limit)
  local due = call('ZRANGEBYSCORE', K .. ':scheduled', '-inf', now, 'WITHSCORES', 'LIMIT', 0, limit)
  for i = 1, #due, 2 do
    local member, ready = due[i], tonumber(due[i + 1])
    local at = K .. ':job:' .. string.sub(member, 17)
    local its = call('HMGET', at, 'lane', 'priority', 'key')
    call('ZREM', K .. ':scheduled', member)
    if its[1] then
      call('HDEL', at, 'ready')
      call('HSET', at, 'state', 'ready')
      enter({ member = member, lane = its[1], priority = tonumber(its[2]) or 0, key = its[3], ready = ready })
    else
      forget(member)
    end
  end
  return expired, #due / 2
end

-- How many jobs wait: all that there are, less those that run and those that have ended.
local function waiting()
  local jobs = call('ZCARD', K .. ':jobs')
  for _, what in ipairs({ 'running', 'done', 'kept', 'dead', 'cancelled', 'expired' }) do
    jobs = jobs - call('ZCARD', K .. ':' .. what)
  end
  return jobs
end

-- The same, not counting what has expired, as far as that matters to whether it is above `most`.
local function waiting_now(most)
  local jobs = waiting()
  while jobs > most and expire_over(1000) > 0 do
    jobs = waiting()
  end
  return jobs
end
