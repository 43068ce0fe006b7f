-- uses: erase
-- Remove those of some jobs that are in given states; none of these is running.
--
-- ARGV[2] how many states, [3…] they, and then ids
-- Returns the ids of those that went.
local states, removed = {}, {}
write_nothing()
local first = 3 + ARGV[2]
for a = 3, first - 1 do
  states[ARGV[a]] = true
end
for a = first, #ARGV do
  local job = current(ARGV[a])
  if job then
    local is_due = job.state == 'scheduled' and job.due <= now
    if states[is_due and 'ready' or job.state] then
      erase(job)
      removed[#removed + 1] = job.id
    end
  end
end
tell()
return removed
