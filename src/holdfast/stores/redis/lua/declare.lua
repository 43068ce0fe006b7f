-- uses: queue
-- Make the queue exist.
--
-- K:settings  hash: json, and in ms or numbers what scripts need of it; a queue exists while it does
-- K:wake      see jobs.lua
-- ARGV[2] "always", or "new" to leave settings that are there alone; [3…] fields and values, those without limit left out
if ARGV[2] == 'always' or call('EXISTS', K .. ':settings') == 0 then
  call('DEL', K .. ':settings')
  call('PERSIST', K .. ':wake') -- which destroy.lua lets expire
  call('HSET', K .. ':settings', unpack(ARGV, 3))
  -- A small hash is a list, and 500 fields looked for in a list of 500 take ten times as long as in a table. A long name
  -- makes it a table, for as long as the queue exists.
  call('HSET', K .. ':plain', 'makes a table of this hash ' .. string.rep('-', 50), '')
end
return 1
