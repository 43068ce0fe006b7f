-- uses: plain
-- Watches: who waits for the ends of jobs. A client's watch has a part in each queue where it waits.
--
-- K:watchers      ids of watches, by when the time of their clients is over
-- K:watching:<w>  set: the ids of jobs that a watch waits for
-- K:watched       see jobs.lua
-- K:watch:<w>     see jobs.lua

local WAITING = { ready = true, scheduled = true }

-- Tell whether the end of a job is still to come.
local function will_end(id)
  local its = fields_at(id, 'state', 'expires')
  return its[1] == 'running' or (WAITING[its[1]] and not (its[2] and tonumber(its[2]) <= now))
end

-- In how many ms the next job of the queue expires, or -1: jobs also end by time alone.
local function expires_in()
  local first = tonumber(call('ZRANGE', K .. ':expiring', 0, 0, 'WITHSCORES')[2])
  return first and math.max(0, first - now) or -1
end

-- Give a client its time. The first command frees memory: also on a full server jobs end and are waited for.
local function renew(watch, ttl)
  call('ZREM', K .. ':watchers', watch)
  call('ZADD', K .. ':watchers', boot + ttl, watch)
end

-- Let a watch wait no more for up to 1 000 jobs.
local function leave_alone(watch, ids)
  if #ids == 0 then
    return
  end
  call('SREM', K .. ':watching:' .. watch, unpack(ids))
  for i, found in ipairs(call('HMGET', K .. ':watched', unpack(ids))) do
    local others = {}
    for other in string.gmatch(found or '', '%S+') do
      if other ~= watch then
        others[#others + 1] = other
      end
    end
    if #others > 0 then
      call('HSET', K .. ':watched', ids[i], table.concat(others, ' '))
    elseif found then
      call('HDEL', K .. ':watched', ids[i])
    end
  end
end

-- Remove up to `most` jobs of a watch, and the watch with the last; return how many, and whether that was all.
local function dismiss(watch, most)
  local ids = call('SRANDMEMBER', K .. ':watching:' .. watch, most)
  leave_alone(watch, ids)
  if call('EXISTS', K .. ':watching:' .. watch) == 1 then
    return #ids, false
  end
  call('ZREM', K .. ':watchers', watch)
  call('DEL', K .. ':watch:' .. watch)
  return #ids, true
end
