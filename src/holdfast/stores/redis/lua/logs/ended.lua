-- uses: logs/log
-- Forget that something was to be erased: it is.
--
-- ARGV[2] the life that was
local ended = call('GET', K .. ':ended')
if ended and string.match(ended, '^%d+') == ARGV[2] then
  call('DEL', K .. ':ended')
end
return 1
