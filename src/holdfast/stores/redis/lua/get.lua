-- uses: view
-- One job with body and runs.
--
-- ARGV[2]  its id
-- Returns the time, the job (view.lua), its body, its runs; nothing when there is no such job.
local job = view_of(ARGV[2])
if not job then
  return false
end
return { now, job, call('GET', K .. ':body:' .. ARGV[2]), call('LRANGE', K .. ':runs:' .. ARGV[2], 0, -1) }
