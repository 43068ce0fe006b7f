-- uses: logs/log
-- A partition is of a later life: the server of the log's slot has lost that it was made anew. What is here is of no use.
--
-- ARGV[2] the life of the partition
local life = call('HGET', K .. ':log', 'life')
if life and tonumber(life) < tonumber(ARGV[2]) then
  begin()
  for _, group in ipairs(call('HKEYS', K .. ':groups')) do
    remove(group)
  end
  call('DEL', K .. ':first')
  call('HSET', K .. ':log', 'life', ARGV[2], 'serial', math.max(tonumber(ARGV[2]), now))
  call('HSET', K .. ':log', 'revision', new_serial())
end
return 1
