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

-- Begin to write, also where memory is used up. A full server refuses what may take memory, but not after the script has
-- written: then it must not stop half-way. So what works jobs off begins with a command that never takes any.
local function begin()
  call('DEL', K .. ':nothing')
end

-- Write what leaves nothing behind. WAIT and WAITAOF wait for what their own connection wrote last: who answers that
-- something was there already, because another connection wrote it, lets them wait for that too. Also a beginning.
local function write_nothing()
  begin()
  call('SET', K .. ':nothing', '')
  call('DEL', K .. ':nothing')
end

-- Numbers that go to many commands are made texts once: a command makes one of each number it is given.
local function whole(number)
  return string.format('%.0f', number)
end
