-- What every script of the whole store begins with: where its keys are, and what time heartbeats are measured by.
--
-- KEYS[1]  S, which begins every key of the store that belongs to no queue and no log; they are all in its slot
-- ARGV[1]  empty for the server's time, or "<wall> <boot>" in ms, the times of a clock that a test moves
local S, call = KEYS[1], redis.call
local boot
if ARGV[1] == '' then
  local time = call('TIME')
  boot = time[1] * 1000 + math.floor(time[2] / 1000)
else
  boot = tonumber(string.match(ARGV[1], ' (%d+)$'))
end

-- Begin to write, also where memory is used up: see queue.lua.
local function begin()
  call('DEL', S .. ':nothing')
end
