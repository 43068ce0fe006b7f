-- Looking at what logs hold; nothing here changes the file. Plans are asserted in tests.

-- name: ends
SELECT part.partition, part.first, part.next, part.written - part.dropped,
       (SELECT time FROM holdfast_append AS append
         WHERE append.partition = part.number
         ORDER BY base
         LIMIT 1)
  FROM holdfast_partition AS part
 WHERE part.log = ?
 ORDER BY part.partition

-- name: holding
-- The append that has an offset, or the last one before it.
SELECT number, base, count, time, before, bodies FROM holdfast_append
 WHERE partition = ? AND base <= ?
 ORDER BY base DESC
 LIMIT 1

-- name: appends
-- From the append on that has the offset ?2.
SELECT base, count, time, attributes, crc, data FROM holdfast_append
 WHERE partition = ?1
   AND base >= coalesce((SELECT max(base) FROM holdfast_append WHERE partition = ?1 AND base <= ?2), ?2)
 ORDER BY base

-- name: news
-- Of the places ?2, a list of [partition, position], those where there is something else than nothing.
SELECT part.number, part.partition, part.first, part.next, part.written, part.dropped, part.bodies
  FROM json_each(?2) AS held
 CROSS JOIN holdfast_partition AS part
 WHERE part.log = ?1 AND part.partition = held.value ->> 0 AND part.next <> held.value ->> 1
