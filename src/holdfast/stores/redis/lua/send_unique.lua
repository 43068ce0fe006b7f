-- uses: messages
-- Store messages some of which have a unique key.
--
-- ARGV[2]  "1" to hold them to the queue's limits, [3] the size of the largest body, [4] that of the smallest
-- ARGV[5…] groups, see messages.lua
-- Returns for each message the id of the job that was there already, or empty; or why nothing was stored:
-- "undeclared", "body", or {"full", waiting, new}.
local settings = call('HMGET', K .. ':settings', 'max_body', 'min_body', 'limit')
if not settings[1] then
  return 'undeclared'
end
local limited = ARGV[2] == '1'
if limited and (tonumber(ARGV[3]) > tonumber(settings[1]) or tonumber(ARGV[4]) < tonumber(settings[2])) then
  return 'body'
end
local steps, new, answers = plan(5, #ARGV)
if limited and settings[3] and new > 0 then
  local limit = tonumber(settings[3])
  local jobs = waiting_now(limit - new)
  if jobs + new > limit then
    tell()
    return { 'full', jobs, new }
  end
end
if #steps == 0 then
  write_nothing()
end
carry_out(steps)
tell()
for i, id in ipairs(answers) do
  answers[i] = id or ''
end
return answers
