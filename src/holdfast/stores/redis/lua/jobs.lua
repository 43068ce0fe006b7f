-- uses: plain
-- One job: as a table, in its lane, in the line of its key, at its end. All but the hot paths goes through here.
--
-- A member stands for a job in a sorted set: 16 digits of its number, then its id. Ties are then in the order of sending.
-- K:job:<id>      hash of the job; see docs/design/redis.md for its fields
-- K:ready:<lane>  members of the ready jobs of a format and kind, by (100 - priority) * 2^45 + ms of becoming ready
-- K:wake:<lane>   one member while somebody should be told that the lane is not empty
-- K:wake          one member while somebody should look at due times again
-- K:scheduled     members by when they are due
-- K:expiring      members of waiting jobs by when they expire
-- K:running       members by the number of their holder
-- K:cancelling    ids of running jobs that were asked to be cancelled
-- K:done, K:dead, K:cancelled, K:expired    members by their end
-- K:keys          hash of each key's head, a member
-- K:line:<key>    members behind the head of their key, by when they joined; there is none when it would be empty
-- K:slots         hash of unique keys: "<lasts>:<until>:<member>" of the job that took the slot last
local SPAN = 35184372088832 -- 2^45
local marked, ended_ids = {}, {}

local LOADED = { 'state', 'seq', 'lane', 'priority', 'key', 'token', 'attempts', 'most', 'crashes', 'sent', 'due', 'ready',
  'expires', 'started', 'cancel', 'slot', 'holder' }

-- Return a job to be changed, which has its own hash then.
local function load(id)
  local at = K .. ':job:' .. id
  local f = call('HMGET', at, unpack(LOADED))
  if not f[1] then
    if not unfold(id) then
      return nil
    end
    f = call('HMGET', at, unpack(LOADED))
  end
  local due = tonumber(f[11] or f[10])
  return {
    id = id, at = at, state = f[1], member = f[2] .. id, lane = f[3], priority = tonumber(f[4]) or 0,
    key = f[5], token = f[6], attempts = tonumber(f[7]) or 0, most = tonumber(f[8]), crashes = tonumber(f[9]) or 0,
    due = due, ready = tonumber(f[12]) or due, expires = tonumber(f[13]), started = f[14], cancel = f[15],
    slot = f[16], holder = f[17],
  }
end

-- Forget a job without a key of its own: somebody deleted that, or the server evicted it.
local function forget(member)
  local id = string.sub(member, 17)
  call('ZREM', K .. ':jobs', member)
  call('DEL', K .. ':body:' .. id, K .. ':runs:' .. id)
end

-- Return the job that a member of a set stands for. Where there is none the member goes, so that nobody comes to it again.
local function job_of(member, what)
  local job = load(string.sub(member, 17))
  if job and job.member == member then
    return job
  end
  call('ZREM', K .. what, member)
  if job then -- its id has come back
    call('ZREM', K .. ':jobs', member)
  else
    forget(member)
  end
  return nil
end

-- The rules of machine/orders.py: only heads of keys stand in lanes.

local function mark(lane)
  if not marked[lane] then
    marked[lane] = true
    call('ZADD', K .. ':wake:' .. lane, 0, 1)
  end
end

local function stand(member, lane, priority, ready)
  call('ZADD', K .. ':ready:' .. lane, (100 - priority) * SPAN + ready, member)
  mark(lane)
end

-- Take a job out of the line of its key; if it was the head, the next stands in its lane at once.
local function leave(job)
  if not job.key then
    return
  end
  local line = K .. ':line:' .. job.key
  if call('HGET', K .. ':keys', job.key) ~= job.member then
    call('ZREM', line, job.member)
    return
  end
  local following, its
  repeat -- one whose own key is gone is passed over
    following = call('ZPOPMIN', line)[1]
    its = following
      and call('HMGET', K .. ':job:' .. string.sub(following, 17), 'lane', 'priority', 'ready', 'due', 'sent')
  until not following or its[1]
  if not following then
    call('HDEL', K .. ':keys', job.key)
    return
  end
  call('HSET', K .. ':keys', job.key, following)
  stand(following, its[1], its[2] or 0, tonumber(its[3] or its[4] or its[5]))
end

local function enter(job)
  local head = job.key and call('HGET', K .. ':keys', job.key)
  if not job.key or head == job.member then
    stand(job.member, job.lane, job.priority, job.ready)
    return
  end
  local line = K .. ':line:' .. job.key
  if not head then
    call('HSET', K .. ':keys', job.key, job.member)
    stand(job.member, job.lane, job.priority, job.ready)
    return
  end
  -- A head that was leased once has joined at 0, so that nobody ever comes before it.
  local its = call('HMGET', K .. ':job:' .. string.sub(head, 17), 'started', 'ready', 'due', 'sent', 'lane')
  if not its[4] then -- the head's own key is gone
    leave({ key = job.key, member = head })
    return enter(job)
  end
  local joined = its[1] and 0 or tonumber(its[2] or its[3] or its[4])
  if job.ready < joined or (job.ready == joined and job.member < head) then
    call('ZREM', K .. ':ready:' .. its[5], head)
    call('ZADD', line, joined, head)
    call('HSET', K .. ':keys', job.key, job.member)
    stand(job.member, job.lane, job.priority, job.ready)
  else
    call('ZADD', line, job.ready, job.member)
  end
end

-- Somebody waits until the first of these instants; an earlier one must be told.
local function expect(what, instant, member)
  local first = call('ZRANGE', K .. what, 0, 0, 'WITHSCORES')[2]
  call('ZADD', K .. what, instant, member)
  if not first or instant < tonumber(first) then
    call('ZADD', K .. ':wake', 0, 1)
  end
end

-- Take a waiting job out of the order that it stands in; it stays in the line of its key.
local function withdraw(job)
  if job.expires then
    call('ZREM', K .. ':expiring', job.member)
  end
  call('ZREM', K .. (job.state == 'scheduled' and ':scheduled' or ':ready:' .. job.lane), job.member)
end

-- End a job that stands in no order any more.
local function finish(job, state, ended, reason)
  call('HDEL', job.at, 'cancel', 'lease')
  leave(job)
  call('ZADD', K .. ':' .. state, ended, job.member)
  if reason then
    call('HSET', job.at, 'state', state, 'ended', ended, 'reason', reason)
  else
    call('HSET', job.at, 'state', state, 'ended', ended)
  end
  job.state = state
  ended_ids[#ended_ids + 1] = job.id
end

local function expire(job)
  withdraw(job)
  finish(job, 'expired', job.expires)
end

-- Return a job after writing down that it has expired, if it has.
local function current(id)
  local job = load(id)
  if job and job.expires and job.expires <= now and (job.state == 'ready' or job.state == 'scheduled') then
    expire(job)
  end
  return job
end

-- Tell those who wait for the jobs that ended here. The last thing that a script does.
-- K:watched       hash: by id of a job that has not ended, the ids of the watches that wait for it, a space between
-- K:watching:<w>  see completions/watches.lua
-- K:watch:<w>     stream of a watch: in each entry, as names of fields, the ids of jobs that have ended
local TOLD_AT_ONCE = 1000
local function tell_some(first, last)
  local ids, fields = {}, {}
  for i, watches in ipairs(call('HMGET', K .. ':watched', unpack(ended_ids, first, last))) do
    for watch in string.gmatch(watches or '', '%S+') do
      ids[watch], fields[watch] = ids[watch] or {}, fields[watch] or {}
      local id, its = ended_ids[first + i - 1], fields[watch]
      table.insert(ids[watch], id)
      its[#its + 1], its[#its + 2] = id, ''
    end
  end
  for watch, its in pairs(ids) do
    call('HDEL', K .. ':watched', unpack(its))
    call('SREM', K .. ':watching:' .. watch, unpack(its))
    call('XADD', K .. ':watch:' .. watch, '*', unpack(fields[watch]))
  end
end

local function tell()
  if #ended_ids > 0 and call('EXISTS', K .. ':watched') == 1 then
    for first = 1, #ended_ids, TOLD_AT_ONCE do
      tell_some(first, math.min(first + TOLD_AT_ONCE - 1, #ended_ids))
    end
  end
end
