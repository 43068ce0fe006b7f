-- uses: logs/log
-- A partition is of a later life or revision: the server of the log's slot has lost that it was made anew, or its settings
-- changed. Of an earlier life nothing is of use.
--
-- ARGV[2] life, [3] revision of the partition
local its = call('HMGET', K .. ':log', 'life', 'revision')
local life, revision = tonumber(its[1]), tonumber(its[2])
if life and life < tonumber(ARGV[2]) then
  begin()
  for _, group in ipairs(call('HKEYS', K .. ':groups')) do
    remove(group)
  end
  call('DEL', K .. ':first')
  call('HSET', K .. ':log', 'life', ARGV[2])
  revision = 0
end
if life and life <= tonumber(ARGV[2]) and revision < tonumber(ARGV[3]) then
  begin()
  call('HSET', K .. ':log', 'revision', new_serial(tonumber(ARGV[3])))
end
return 1
