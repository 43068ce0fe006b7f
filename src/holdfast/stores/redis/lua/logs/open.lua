-- uses: logs/part
-- Make the partition that of a life and revision of its log, if it is not of a later one. What an earlier life left goes.
--
-- ARGV[2] life, [3] revision, [4] the offset at which it begins if it is new
-- Returns the life and the revision that it is of.
local its = call('HMGET', K .. ':ends', 'life', 'revision')
local life, revision = tonumber(its[1]), tonumber(its[2])
if not life or life < tonumber(ARGV[2]) then
  call('UNLINK', K .. ':messages', K .. ':index', K .. ':ends', K .. ':producers', K .. ':used')
  call('HSET', K .. ':ends', 'life', ARGV[2], 'revision', ARGV[3], 'first', ARGV[4], 'next', ARGV[4], 'written', 0,
    'dropped', 0, 'time', 0, 'most', 0)
elseif life == tonumber(ARGV[2]) and revision < tonumber(ARGV[3]) then
  call('HDEL', K .. ':ends', 'revision') -- frees, so that a full server takes the rest
  call('HSET', K .. ':ends', 'revision', ARGV[3])
else
  return { life, revision }
end
return { tonumber(ARGV[2]), tonumber(ARGV[3]) }
