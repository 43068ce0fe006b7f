-- uses: stop
-- Cancel jobs that wait, ask for those that run.
--
-- ARGV[2] reason, [3…] ids
-- Returns for each the state that it is in then, empty when it is not known.
local states = {}
write_nothing()
for a = 3, #ARGV do
  local job = stop(ARGV[a], ARGV[2])
  states[#states + 1] = job and job.state or ''
end
tell()
return states
