-- uses: store
-- Who has fallen silent, and whose jobs somebody began to take back and did not finish. Forgets old ends.
--
-- ARGV[2]  after how many ms an end counts as left unfinished
-- Returns the silent holders, the longest silent first, and of each unfinished end: holder, how, its queues.
for _, what in ipairs({ ':ended', ':missing' }) do
  call('ZREMRANGEBYSCORE', S .. what, '-inf', boot - 3600000)
end
local unfinished = {}
local ending = call('HGETALL', S .. ':ending')
for i = 1, #ending, 2 do
  local at, how = string.match(ending[i + 1], '^(%-?%d+) (.*)$')
  if boot - at >= tonumber(ARGV[2]) or boot < tonumber(at) then
    unfinished[#unfinished + 1] = { ending[i], how, call('SMEMBERS', S .. ':with:' .. ending[i]) }
  end
end
return { call('ZRANGEBYSCORE', S .. ':beats', '-inf', boot), unfinished }
