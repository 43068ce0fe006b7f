-- uses: completions/watches
-- Wait for the ends of jobs.
--
-- ARGV[2] watch, [3] the time of its client in ms, [4…] up to 1 000 ids
-- Returns the ids of those that have ended or do not exist, for which nobody need wait, and in how many ms the next job of
-- the queue expires, or -1.
local watch, over, awaited = ARGV[2], {}, {}
for a = 4, #ARGV do
  local to = will_end(ARGV[a]) and awaited or over
  to[#to + 1] = ARGV[a]
end
if #awaited > 0 then
  renew(watch, ARGV[3])
  call('SADD', K .. ':watching:' .. watch, unpack(awaited))
  local fields = {}
  for i, others in ipairs(call('HMGET', K .. ':watched', unpack(awaited))) do
    if not others or not string.find(' ' .. others .. ' ', ' ' .. watch .. ' ', 1, true) then
      fields[#fields + 1] = awaited[i]
      fields[#fields + 1] = others and others .. ' ' .. watch or watch
    end
  end
  if #fields > 0 then
    call('HSET', K .. ':watched', unpack(fields))
  end
end
return { over, expires_in() }
