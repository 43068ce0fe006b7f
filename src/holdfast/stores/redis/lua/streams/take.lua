-- Takes over entries of a foreign stream from consumers who are gone, so that no two take the same, and removes those
-- consumers of ours who have none left.
--
-- KEYS[1]   the stream
-- ARGV      group, consumer, most entries, idle ms, number of our consumers who are gone, those, any number of others
--
-- Of the others, who are no consumers of ours, entries are taken that were idle for so long. What the stream has no
-- more is off the list of the group. Returns the entries.
local stream, group, consumer, left = KEYS[1], ARGV[1], ARGV[2], math.min(tonumber(ARGV[3]), 1000)
local idle, ours = ARGV[4], tonumber(ARGV[5])
local found = {}

local function pending(whose, after, most)
  return redis.call('XPENDING', stream, group, 'IDLE', after, '-', '+', most, whose)
end

local function take(whose, after)
  local ids, there = {}, {}
  for _, one in ipairs(pending(whose, after, left)) do ids[#ids + 1] = one[1] end
  if #ids == 0 then return end
  -- Before 7.0 an entry that was deleted comes as nothing, and stays on the list.
  for _, entry in ipairs(redis.call('XCLAIM', stream, group, consumer, after, unpack(ids))) do
    if entry then
      there[entry[1]] = true
      found[#found + 1] = entry
    end
  end
  for _, id in ipairs(ids) do
    if not there[id] and #redis.call('XRANGE', stream, id, id) == 0 then redis.call('XACK', stream, group, id) end
  end
  left = left - #ids
end

for i = 6, #ARGV do
  local is_ours = i < 6 + ours
  if left > 0 then take(ARGV[i], is_ours and 0 or idle) end
  if is_ours and #pending(ARGV[i], 0, 1) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', stream, group, ARGV[i])
  end
end
return found
