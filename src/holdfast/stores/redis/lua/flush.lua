-- uses: advance, erase
-- Remove a step of the jobs in a state.
--
-- ARGV[2] state, [3] the member to begin behind, or empty, [4] the last member to look at, or empty for as of now,
-- [5] at how many to look
-- Returns how many went, the member to go on behind or empty when that was all, and the last member to look at.
local state, behind, final, most = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
write_nothing()
if final == '' then
  local expired, due = advance(most)
  if expired + due > 0 then -- first all is to be written down: it may belong to this state, or no more
    tell()
    return { 0, '0', '' }
  end
  final = call('ZREVRANGE', K .. ':jobs', 0, 0)[1] or '0'
end
local members = call('ZRANGEBYLEX', K .. ':jobs', '(' .. behind, '[' .. final, 'LIMIT', 0, most)
local removed = 0
for _, member in ipairs(members) do
  local id = string.sub(member, 17)
  if fields_at(id, 'state')[1] == state then
    erase(load(id))
    removed = removed + 1
  end
end
tell()
return { removed, #members == most and members[most] or '', final }
