-- uses: messages, runs
-- Carry out settlements in their order.
--
-- K:kept    members of done jobs with a result that is kept, by how long
-- ARGV[2…]  settlements, each a verb and what it takes:
--   acks: how many, ids and tokens (plain ones, no id twice)
--   ack: id, token, ms to keep the result, result, how many arguments the groups of follow-ups are, they (messages.lua)
--   nack: id, token, delay in ms, "1" if the attempt counts, outcome of the run or empty, its error as JSON
--   bury: id, token, reason, outcome, error as JSON      stop: id, token, reason      crash: id, token, reason
--   give_back: id, token      lease: lease id, its holder or empty; gives back all that it was granted
-- Returns the positions of those that were lost, from 0.
local AT_ONCE = 1000
local lost, position, ended = {}, 0, whole(now)

local function lose()
  lost[#lost + 1] = position
end

-- Return the running job that id and token at ARGV[a] are the valid proof of, or nil.
local function proven(a)
  local job = load(ARGV[a])
  if job and job.state == 'running' and job.token == ARGV[a + 1] then
    return job
  end
  lose()
  return nil
end

local heads = setmetatable({}, { __index = function(heads, token)
  heads[token] = plain_head('g', token)
  return heads[token]
end })

-- Return when those of the jobs that are plain were done; false for what was not, or is not plain.
local function ends_of(ids, texts)
  local members = {}
  for i, text in ipairs(texts) do
    members[i] = text and string.sub(text, 18, 33) .. ids[i] or ''
  end
  return call('ZMSCORE', K .. ':done', unpack(members))
end

-- Several commands here take all jobs at once.
local function ack_plain(first, last)
  local ids, members, done, ats, others = {}, {}, {}, {}, {}
  for a = first, last, 2 do ids[#ids + 1] = ARGV[a] end
  local function take(id, seq)
    local n = #members + 1
    members[n] = seq .. id
    done[2 * n - 1], done[2 * n] = ended, members[n]
    ended_ids[#ended_ids + 1] = id
    return members[n]
  end
  local function take_other(id, token)
    local at = K .. ':job:' .. id
    local f = call('HMGET', at, 'state', 'token', 'seq', 'key', 'cancel')
    if f[1] ~= 'running' or f[2] ~= token then
      lose()
      return
    end
    ats[#ats + 1] = at
    local member = take(id, f[3])
    if f[4] or f[5] then
      others[#others + 1] = { id = id, at = at, member = member, key = f[4], cancel = f[5] }
    end
  end
  local texts = call('HMGET', K .. ':plain', unpack(ids))
  local ends = ends_of(ids, texts)
  for i, text in ipairs(texts) do
    local id, token = ids[i], ARGV[first + 2 * i - 1]
    if not text then
      take_other(id, token)
    elseif string.sub(text, 1, 17) == heads[token] and not ends[i] then
      take(id, string.sub(text, 18, 33))
    else
      lose()
    end
    position = position + 1
  end
  if #members == 0 then
    return
  end
  call('ZREM', K .. ':running', unpack(members))
  for _, at in ipairs(ats) do
    call('HSET', at, 'state', 'done', 'ended', ended)
  end
  call('ZADD', K .. ':done', unpack(done))
  for _, job in ipairs(others) do
    if job.cancel then
      call('HDEL', job.at, 'cancel')
      call('SREM', K .. ':cancelling', job.id)
    end
    leave(job)
  end
end

local verbs = {}

function verbs.acks(a)
  local last = a + 2 * ARGV[a]
  for first = a + 1, last, 2 * AT_ONCE do
    ack_plain(first, math.min(first + 2 * AT_ONCE - 1, last))
  end
  position = position - 1
  return last + 1
end

function verbs.ack(a)
  local following, keep = a + 5 + ARGV[a + 4], tonumber(ARGV[a + 2])
  local job = proven(a)
  if job then
    put(job, 'done')
    if keep > 0 then
      call('ZREM', K .. ':done', job.member)
      call('ZADD', K .. ':kept', now + keep, job.member)
      call('HSET', job.at, 'result', ARGV[a + 3], 'keep', now + keep)
    end
    carry_out((plan(a + 5, following - 1)))
  end
  return following
end

function verbs.nack(a)
  local job = proven(a)
  if job then
    local run = ARGV[a + 4] ~= '' and run_of(job, ARGV[a + 4], ARGV[a + 5])
    job.attempts = job.attempts - (ARGV[a + 3] == '1' and 0 or 1)
    job.due, job.ready = now + ARGV[a + 2], now + 1 -- behind all that is ready at this very ms
    put_back(job, job.due > now and 'scheduled' or 'ready')
    if run then
      note(job, run)
    end
  end
  return a + 6
end

function verbs.bury(a)
  local job = proven(a)
  if job then
    local run = run_of(job, ARGV[a + 3], ARGV[a + 4])
    put(job, 'dead', ARGV[a + 2])
    note(job, run)
  end
  return a + 5
end

function verbs.stop(a)
  local job = proven(a)
  if job then
    put(job, 'cancelled', ARGV[a + 2])
  end
  return a + 3
end

function verbs.crash(a)
  local job = proven(a)
  if job then
    put_charged(job, ARGV[a + 2], true)
  end
  return a + 3
end

local function give_back(job)
  job.attempts = job.attempts - 1
  put_back(job, 'ready')
end

function verbs.give_back(a)
  local job = proven(a)
  if job then
    give_back(job)
  end
  return a + 2
end

function verbs.lease(a)
  local first, last = '-inf', '+inf'
  if ARGV[a + 1] ~= '' then
    first = call('HGET', K .. ':holders', ARGV[a + 1]) or '0' -- nobody has that number
    last = first
  end
  for _, member in ipairs(call('ZRANGEBYSCORE', K .. ':running', first, last)) do
    local id = string.sub(member, 17)
    if fields_at(id, 'state', 'lease')[2] == ARGV[a] then
      give_back(load(id))
    end
  end
  if call('EXISTS', K .. ':settings') == 1 then
    call('ZADD', K .. ':returned', boot, ARGV[a])
  end
  return a + 2
end

begin()
local a = 2
while a <= #ARGV do
  a = verbs[ARGV[a]](a + 1)
  position = position + 1
end
tell()
if #lost > 0 then
  write_nothing()
end
return lost
