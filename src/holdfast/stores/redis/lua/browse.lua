-- uses: view
-- A piece of a listing, the newest sent first.
--
-- ARGV[2] the member before which to begin, or empty, [3] how many jobs, [4] "1" with bodies, [5] "1" with the last run
-- Returns the time, and of each job: member, job (view.lua; nothing when its own key is gone), body and last run, each
-- empty unless asked for.
local before = ARGV[2] == '' and '+' or '(' .. ARGV[2]
local members = call('ZREVRANGEBYLEX', K .. ':jobs', before, '-', 'LIMIT', 0, ARGV[3])
local jobs = {}
for i, member in ipairs(members) do
  local id = string.sub(member, 17)
  local body = ARGV[4] == '1' and call('GET', K .. ':body:' .. id) or ''
  local run = ARGV[5] == '1' and call('LINDEX', K .. ':runs:' .. id, -1) or ''
  jobs[i] = { member, view_of(id) or false, body, run }
end
return { now, jobs }
