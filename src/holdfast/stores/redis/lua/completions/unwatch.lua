-- uses: completions/watches
-- Wait for some jobs no more, or for none of the queue.
--
-- ARGV[2] watch, [3…] up to 1 000 ids; without any a step is taken to remove the watch
-- Returns 1 when that is done, 0 when it takes another step.
if #ARGV > 2 then
  leave_alone(ARGV[2], { unpack(ARGV, 3) })
  return 1
end
local _, gone = dismiss(ARGV[2], 1000)
return gone and 1 or 0
