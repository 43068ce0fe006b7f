-- uses: queue
-- Add one append behind the last of a partition, whose keys part.lua tells.
--
-- ARGV[2] life, [3] revision, [4] the lowest offset it may have, [5] how many messages, [6] how they are packed, [7] data,
-- [8] a number drawn at random, [9] "1" to store, or empty only to recognise a repeat, [10…12] a producer's id, epoch,
-- sequence
-- Returns {offset, 1 if it had been there}; "stale" when life or revision are others; "new" for no repeat; or what is
-- kept of a producer whose sequence is refused.
local its = call('HMGET', K .. ':ends', 'life', 'revision', 'next', 'written', 'time', 'first', 'most')
if its[1] ~= ARGV[2] or its[2] ~= ARGV[3] then
  return 'stale'
end
local producer, epoch, sequence, appends = ARGV[10], ARGV[11], ARGV[12], ''
if producer then
  local known = call('HGET', K .. ':producers', producer)
  local its_epoch, following, its_appends = string.match(known or '', '^(%d+) (%d+)(.*)$')
  if its_epoch == epoch then
    if sequence ~= following then
      for one, offset in string.gmatch(its_appends, '(%d+):(%d+)') do
        if one == sequence then
          write_nothing()
          return { tonumber(offset), 1 }
        end
      end
      return known
    end
    appends = its_appends
  elseif its_epoch and tonumber(its_epoch) > tonumber(epoch) then
    return known
  end
end
if ARGV[9] == '' then
  return 'new'
end
local following, count, size = tonumber(its[3]), tonumber(ARGV[5]), #ARGV[7]
local offset = math.max(following, tonumber(ARGV[4]))
local time = math.max(now, tonumber(its[5]))
local id = string.format('%.0f-%.0f', offset, count)
call('XADD', K .. ':messages', id, 't', time, 'a', ARGV[6], 'd', ARGV[7], 'n', ARGV[8]) -- first: a full server refuses it
call('XADD', K .. ':index', id, 't', time, 'w', its[4], 'n', ARGV[8])
call('HSET', K .. ':ends', 'next', offset + count, 'written', its[4] + size, 'time', time)
if size > tonumber(its[7]) then
  call('HSET', K .. ':ends', 'most', size)
end
if its[6] == its[3] and offset > following then
  call('HSET', K .. ':ends', 'first', offset)
end
if producer then
  local one = string.format(' %s:%.0f', sequence, offset)
  local _, number = string.gsub(appends, ':', '')
  if number >= 5 then
    appends = string.gsub(appends, '^ %d+:%d+', '')
  end
  local text = string.format('%s %.0f%s', epoch, tonumber(sequence) + count, appends .. one)
  call('HSET', K .. ':producers', producer, text)
  call('ZADD', K .. ':used', offset, producer)
  if call('ZCARD', K .. ':used') > 1000 then
    call('HDEL', K .. ':producers', call('ZPOPMIN', K .. ':used')[1])
  end
end
return { offset, 0 }
