-- uses: advance, erase, schedules/ticks, completions/watches
-- The queue's share of a round of tidying.
--
-- ARGV[2]  how many of each kind at the most
-- Returns how many expired, were made ready, were dropped, how many of those were dead letters, the most that was done
-- of any kind, and the holders that lease here.
local limit = tonumber(ARGV[2])
local set = call('HMGET', K .. ':settings', 'done_for', 'done_most', 'dead_for', 'dead_most', 'dedupe_window', 'ticks_for')
if not set[1] then
  return { 0, 0, 0, 0, 0, {} }
end
begin()
local expired, due = advance(limit)
local most = math.max(expired, due)

-- Results that are kept no longer go first; their jobs are then kept as any other.
local lapsed = call('ZRANGEBYSCORE', K .. ':kept', '-inf', now, 'LIMIT', 0, limit)
for _, member in ipairs(lapsed) do
  local job = job_of(member, ':kept')
  if job then
    call('ZREM', K .. ':kept', member)
    call('HDEL', job.at, 'result', 'keep')
    call('ZADD', K .. ':done', call('HGET', job.at, 'ended'), member)
  end
end

-- Drop the jobs of one state that are too old or too many, which are its first.
local function drop(state, keep_for, keep_most)
  local key = K .. ':' .. state
  local old = call('ZCOUNT', key, '-inf', now - keep_for)
  local gone = math.min(limit, math.max(old, call('ZCARD', key) - keep_most))
  if gone > 0 then
    erase_first(state, gone)
    most = math.max(most, gone)
  end
  return gone
end

local dead = drop('dead', set[3], set[4])
local dropped = dead + drop('done', set[1], set[2]) + drop('cancelled', set[1], set[2]) + drop('expired', set[1], set[2])

-- Ids are remembered no longer, slots of removed jobs are left, holders that ended and leases that were given back an hour
-- ago are forgotten.
local ids = math.min(limit, call('ZCOUNT', K .. ':forgotten', '-inf', now - set[5]))
if ids > 0 then
  call('ZREMRANGEBYRANK', K .. ':forgotten', 0, ids - 1)
end
local keys = call('ZRANGEBYSCORE', K .. ':left', '-inf', now, 'LIMIT', 0, limit)
for _, key in ipairs(keys) do
  local slot = slot_of(key)
  call('ZREM', K .. ':left', key)
  if slot and not is_held(slot) and not slot.waits and not call('HGET', K .. ':job:' .. slot.id, 'seq') then
    call('HDEL', K .. ':slots', key)
  end
end
for _, what in ipairs({ ':gone', ':returned' }) do
  call('ZREMRANGEBYSCORE', K .. what, '-inf', boot - 3600000)
end

local old = 0
if set[6] then
  for _, name in ipairs(call('ZRANGE', K .. ':schedules', 0, -1)) do
    local ticks = call('ZRANGEBYSCORE', K .. ':ticks:' .. name, '-inf', now - set[6], 'LIMIT', 0, 2 * limit)
    old = old + drop_ticks(name, ticks, limit - old)
  end
end

-- What clients left that are there no more.
local left = 0
for _, watch in ipairs(call('ZRANGEBYSCORE', K .. ':watchers', '-inf', boot, 'LIMIT', 0, limit)) do
  if left < limit then
    left = left + dismiss(watch, limit - left) + 1
  end
end

tell()
return { expired, due, dropped, dead, math.max(most, #lapsed, ids, #keys, old, left), call('HKEYS', K .. ':holders') }
