-- uses: queue
-- A log: what its scripts have in common. K begins its keys; its partitions have slots of their own, see part.lua.
--
-- K:log            hash: life (its number), revision (of the settings), settings (JSON), partitions, until ("1" when
--                  nothing unread goes), limit (bytes, or empty), used (bytes taken of it), serial (the last one given)
-- K:first          hash of partition -> the offset below which nothing is: raised before a partition is cut
-- K:groups         hash of group -> its number
-- K:group:<g>      hash: number, seen (ms, boot clock), changes (serial of the last), and of each partition i: n<i> what
--                  is next (0 if not there), v<i> version, o<i> the member that holds it, f<i> finished beyond (JSON),
--                  b<i> when it was begun anew
-- K:members:<g>    hash of members -> their holders
-- K:crashes:<g>    hash of "<partition>:<offset>" -> JSON
-- K:news           stream of one entry: the last change to any group
-- K:forgotten      the last 1 000 groups that were removed, by when (serial): others that are not there were lost
-- K:ended          "<life> <partitions>" of a log that was destroyed and is not erased everywhere
--
-- Serials rise and never come twice, whatever is lost: they are never behind the time of the server, in microseconds, nor
-- before it for long. They number groups and members, and are the versions of places.

-- Whoever has begun to write may go on when memory is full.
local function begin()
  call('DEL', K .. ':none')
end

local function new_serial(known)
  local time = call('TIME')
  local last = math.max(tonumber(call('HGET', K .. ':log', 'serial')), known or 0)
  local serial = math.max(last + 1, time[1] * 1000000 + time[2])
  call('HSET', K .. ':log', 'serial', serial)
  return serial
end

local function log_is(life)
  return call('HGET', K .. ':log', 'life') == life
end

local function partitions()
  return tonumber(call('HGET', K .. ':log', 'partitions'))
end

-- Tell the members of a group that something is no longer as it was.
local function changed(group)
  local serial = new_serial()
  call('HSET', K .. ':group:' .. group, 'changes', serial)
  call('XADD', K .. ':news', 'MAXLEN', 1, string.format('%.0f-1', serial), 'g', group)
end

local function first_of(partition)
  return tonumber(call('HGET', K .. ':first', partition)) or 0
end

-- The offset that no group has come to in a partition, neither by its place nor by what it finished beyond.
local function furthest(partition)
  local offset = 0
  for _, group in ipairs(call('HKEYS', K .. ':groups')) do
    local its = call('HMGET', K .. ':group:' .. group, 'n' .. partition, 'f' .. partition)
    local last = its[2] and string.match(string.sub(its[2], -20), '(%d+)%]$') -- they rise
    offset = math.max(offset, tonumber(its[1]) or 0, last and last + 1 or 0)
  end
  return offset
end

-- Make a group; starts[i] is where it begins in partition i - 1, if not at the first message.
local function make(group, starts)
  local at, number = K .. ':group:' .. group, new_serial()
  call('HSET', K .. ':groups', group, number)
  call('HSET', at, 'number', number, 'seen', boot)
  for i = 0, partitions() - 1 do
    call('HSET', at, 'n' .. i, math.max(tonumber(starts[i + 1]) or 0, first_of(i)))
  end
  changed(group)
end

-- Return the group as a table; nil when it is not that of that number.
local function load(group, number)
  local its = { names = {} }
  local flat = call('HGETALL', K .. ':group:' .. group)
  for i = 1, #flat, 2 do
    its[flat[i]] = flat[i + 1]
  end
  if not its.number or (number and its.number ~= number) then
    return nil
  end
  return its
end

-- Forget what is kept of crashes in a partition below an offset, or at one of these.
local function forget_crashes(group, partition, below, among)
  local at = K .. ':crashes:' .. group
  if call('EXISTS', at) == 0 then
    return
  end
  for _, message in ipairs(call('HKEYS', at)) do
    local its, offset = string.match(message, '^(%d+):(%d+)$')
    if its == partition and (tonumber(offset) < below or among and among[offset]) then
      call('HDEL', at, message)
    end
  end
end

-- Remove a member; return how many partitions it held.
local function dismiss(group, its, member)
  local held = 0
  if call('HDEL', K .. ':members:' .. group, member) == 0 then
    return 0
  end
  for field, value in pairs(its) do
    if value == member and string.sub(field, 1, 1) == 'o' then
      call('HDEL', K .. ':group:' .. group, field)
      its[field] = nil
      held = held + 1
    end
  end
  return held
end

local function remove(group)
  call('HDEL', K .. ':groups', group)
  call('DEL', K .. ':group:' .. group, K .. ':members:' .. group, K .. ':crashes:' .. group)
end
