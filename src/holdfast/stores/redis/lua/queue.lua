-- What every script of a queue begins with: where its keys are, and what time it is.
--
-- KEYS[1]  K, which begins every key of the queue; they all have its hash tag, so all are in its slot
-- ARGV[1]  empty for the server's time, or "<wall> <boot>" in ms, the times of a clock that a test moves
local K, call = KEYS[1], redis.call
local now, boot
if ARGV[1] == '' then
  local time = call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
  boot = now
else
  now, boot = string.match(ARGV[1], '^(%d+) (%d+)$')
  now, boot = tonumber(now), tonumber(boot)
end
