-- uses: messages, stop, schedules/ticks
-- Carry out one firing, whole or not at all.
--
-- ARGV[2] name, [3] version, [4] the tick expected next, [5] the next tick after this firing or empty, [6] overlap,
-- [7…] for each tick: tick, "1" to send, id of its job, how many arguments its group is, the group (messages.lua)
-- Returns the time and, for each tick that is new: tick, outcome; nothing when it came too late.
local LOOKED_AT = 1000 -- open ticks of a schedule that allows overlap: a backlog may be long
local name, overlap = ARGV[2], ARGV[6]
local at, open = K .. ':schedule:' .. name, K .. ':open:' .. name
local its = call('HMGET', at, 'version', 'next', 'source')
if its[1] ~= ARGV[3] or its[2] ~= ARGV[4] then
  return false
end
local settings = call('HMGET', K .. ':settings', 'limit', 'ticks_most')
local reason = 'replaced by the next tick of schedule ' .. name

local living = {}
for _, id in ipairs(call('ZRANGE', open, 0, overlap == 'allow' and LOOKED_AT - 1 or -1)) do
  local job = current(id)
  if job and (job.state == 'ready' or job.state == 'scheduled' or job.state == 'running') then
    living[#living + 1] = id
  else
    call('ZREM', open, id)
  end
end

-- Cancel the jobs of earlier ticks that wait; tell whether there were any, whose place the next job takes.
local function replace_waiting()
  local running = {}
  for _, id in ipairs(living) do
    local job = load(id)
    if job and job.state == 'running' then
      running[#running + 1] = id
    else
      stop(id, reason)
      call('ZREM', open, id)
    end
  end
  local replaced = #running < #living
  living = running
  return replaced
end

-- Send the job of a tick if that is to be; return what became of the tick.
local function outcome_of(a, following)
  if ARGV[a + 1] ~= '1' then
    return 'missed'
  end
  if #living > 0 and overlap == 'skip' then
    return 'skipped'
  end
  local replaced = overlap == 'replace' and replace_waiting()
  local steps, new, answers = plan(a + 4, following - 1)
  local limit = tonumber(settings[1])
  if limit and new > 0 and not replaced and waiting_now(limit - new) + new > limit then
    return 'full'
  end
  carry_out(steps)
  if answers[1] and answers[1] ~= ARGV[a + 2] then
    return 'skipped'
  end
  if overlap == 'replace' then
    for _, id in ipairs(living) do
      stop(id, reason)
    end
  end
  return 'sent'
end

local fired, a = { now }, 7
while a <= #ARGV do
  local tick, following = ARGV[a], a + 4 + ARGV[a + 3]
  if call('ZCOUNT', K .. ':ticks:' .. name, tick, tick) == 0 then
    local outcome, job = outcome_of(a, following), ''
    if outcome == 'sent' then
      job = ARGV[a + 2]
      living[#living + 1] = job
      call('ZADD', open, tick, job)
    end
    call('ZADD', K .. ':ticks:' .. name, tick, tick .. ' ' .. outcome .. string.format(' %.0f ', now) .. job)
    fired[#fired + 1] = tick
    fired[#fired + 1] = outcome
  end
  a = following
end
if settings[2] then
  local surplus = call('ZCARD', K .. ':ticks:' .. name) - settings[2]
  if surplus > 0 then
    drop_ticks(name, call('ZRANGE', K .. ':ticks:' .. name, 0, surplus + LOOKED_AT), surplus)
  end
end
call('HSET', at, 'next', ARGV[5])
call('ZREM', K .. (its[3] == 'manual' and ':manual' or ':coded'), name)
if ARGV[5] ~= '' then
  call('ZADD', K .. (its[3] == 'manual' and ':manual' or ':coded'), ARGV[5], name)
end
tell()
return fired
