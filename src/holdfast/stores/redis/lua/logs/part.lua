-- uses: queue
-- A partition of a log: what its scripts have in common. K begins its keys; they are of one slot, its own.
--
-- K:messages   stream of appends: id "<offset of the first>-<how many>", fields t (ms), a (how d is packed), d (columns),
--              n (drawn at random: an append that took the place of a lost one has another)
-- K:index      stream of the same ids: t, w (bytes of data ever appended before), n
-- K:ends       hash: life (the number of the log's life), revision (of its settings), first, next (offsets), written,
--              dropped (bytes of data ever), time (of the last append), most (bytes of the largest)
-- K:producers  hash of the last appends of each producer: "<epoch> <next sequence> <sequence>:<offset> …"
-- K:used       producers by the offset of their last append
local LAST = '18446744073709551615'

local function base_of(id)
  return tonumber(string.match(id, '^%d+'))
end

local function count_of(id)
  return tonumber(string.match(id, '%d+$'))
end

-- The append that has an offset, or the last one before it, in the stream of that name.
local function holding(stream, offset)
  return call('XREVRANGE', K .. stream, string.format('%.0f-%s', offset, LAST), '-', 'COUNT', 1)[1]
end
