-- uses: logs/log
-- Everything that is kept of crashes in a group, and what is finished in a partition. Changes nothing.
--
-- ARGV[2] group, [3] partition
-- Returns "no group"; or what is finished beyond the place (JSON, or empty), and pairs of "<partition>:<offset>" and JSON.
local its = load(ARGV[2])
if not its then
  return 'no group'
end
return { its['f' .. ARGV[3]] or '', unpack(call('HGETALL', K .. ':crashes:' .. ARGV[2])) }
