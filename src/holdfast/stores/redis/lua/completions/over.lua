-- uses: completions/watches
-- Which jobs have ended, or do not exist? Changes nothing.
--
-- ARGV[2…] ids
local over = {}
for a = 2, #ARGV do
  if not will_end(ARGV[a]) then
    over[#over + 1] = ARGV[a]
  end
end
return over
