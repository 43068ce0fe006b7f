-- uses: logs/log
-- Make a log exist with these settings.
--
-- ARGV[2] life it gets if it is new, or empty only to change one that is there; [3] settings, [4] partitions,
-- [5] "1" when nothing unread goes, [6] limit in bytes
-- Returns life, revision, 1 if it is new; or, nothing changed, {"fewer", partitions}, {"ended", life, partitions},
-- {"new", ""}.
local ended = call('GET', K .. ':ended')
if ended then
  return { 'ended', string.match(ended, '^%d+'), string.match(ended, '%d+$') }
end
local its = call('HMGET', K .. ':log', 'life', 'revision', 'settings', 'partitions')
if not its[1] and ARGV[2] == '' then
  return { 'new', '' }
elseif not its[1] then
  call('HSET', K .. ':log', 'life', ARGV[2], 'serial', ARGV[2], 'used', 0, 'settings', ARGV[3], 'partitions', ARGV[4],
    'until', ARGV[5], 'limit', ARGV[6])
  local revision = new_serial()
  call('HSET', K .. ':log', 'revision', revision)
  return { tonumber(ARGV[2]), revision, 1 }
end
if tonumber(ARGV[4]) < tonumber(its[4]) then
  return { 'fewer', its[4] }
end
local revision = tonumber(its[2])
if its[3] ~= ARGV[3] then
  begin()
  revision = new_serial()
  call('HSET', K .. ':log', 'revision', revision, 'settings', ARGV[3], 'partitions', ARGV[4], 'until', ARGV[5], 'limit',
    ARGV[6])
  if its[4] ~= ARGV[4] then
    for _, group in ipairs(call('HKEYS', K .. ':groups')) do
      changed(group)
    end
  end
end
return { tonumber(its[1]), revision, 0 }
