-- uses: advance
-- Counts, after writing down a step of what is due or has expired.
--
-- ARGV[2]  how large the step is
-- Returns whether there may be more to write down, then: paused; scheduled, running, done, kept, dead, cancelled,
-- expired; all jobs; the ms since the oldest ready job could have started, or -1; and by lane how many stand in it.
local step = tonumber(ARGV[2])
begin()
local expired, due = advance(step)
tell()
if expired == step or due == step then
  return { 1 }
end
local counts = { 0, call('EXISTS', K .. ':paused') }
for i, what in ipairs({ 'scheduled', 'running', 'done', 'kept', 'dead', 'cancelled', 'expired', 'jobs' }) do
  counts[i + 2] = call('ZCARD', K .. ':' .. what)
end

-- Within a priority the first is the oldest; each priority is looked at once.
local function oldest_of(key)
  local oldest, first = nil, call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
  while first do
    local ready = first % SPAN
    oldest = math.min(oldest or ready, ready)
    local following = string.format('%.0f', first - ready + SPAN)
    first = call('ZRANGEBYSCORE', key, following, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
  end
  return oldest
end

local oldest
counts[11] = -1
for _, lane in ipairs(call('SMEMBERS', K .. ':lanes')) do
  local standing = call('ZCARD', K .. ':ready:' .. lane)
  if standing > 0 then
    counts[#counts + 1] = lane
    counts[#counts + 1] = standing
    local its = oldest_of(K .. ':ready:' .. lane)
    oldest = math.min(oldest or its, its)
  end
end
if oldest then
  counts[11] = math.max(0, now - oldest)
end
return counts
