-- What goes: appends that are no longer kept, groups and holders that nobody has seen for long.

-- name: numbers
-- The first and the last of the appends of log ?1.
SELECT min(first), max(last)
  FROM (SELECT (SELECT number FROM holdfast_append AS append WHERE append.partition = part.number
                 ORDER BY base LIMIT 1) AS first,
               (SELECT number FROM holdfast_append AS append WHERE append.partition = part.number
                 ORDER BY base DESC LIMIT 1) AS last
          FROM holdfast_partition AS part
         WHERE part.log = ?1)

-- name: read_by_all
-- For each partition of a log the lowest place of a group.
SELECT place.partition, min(place.next)
  FROM holdfast_group AS its
  JOIN holdfast_place AS place ON place.reading = its.number
 WHERE its.log = ?
 GROUP BY place.partition

-- name: droppable
-- The oldest appends of partition ?1 that lie below offset ?2, and the bytes up to the end of each.
SELECT base + count, before + length(data) FROM holdfast_append
 WHERE partition = ?1 AND base < ?2 AND base + count <= ?2
 ORDER BY base
 LIMIT ?3

-- name: drop
DELETE FROM holdfast_append WHERE partition = ?1 AND base < ?2

-- name: set_first
UPDATE holdfast_partition SET first = ?2, dropped = ?3 WHERE number = ?1

-- name: leave_log
-- Takes the partitions from a log that is destroyed; their appends go step by step.
UPDATE holdfast_partition SET log = NULL WHERE log = ?

-- name: delete_log
DELETE FROM holdfast_log WHERE number = ?

-- name: left
-- Partitions of destroyed logs.
SELECT number, partition, first, next, written, dropped, bodies FROM holdfast_partition WHERE log IS NULL

-- name: delete_partition
DELETE FROM holdfast_partition WHERE number = ?

-- name: delete_producers
DELETE FROM holdfast_producer WHERE partition = ?

-- name: idle
-- Groups of log ?1 that nobody has seen for more than ?5 ms.
SELECT number, name FROM holdfast_group
 WHERE log = ?1 AND iif(boot = ?2, ?3 - uptime, ?4 - seen) > ?5

-- name: signs
-- Whether there are partitions of destroyed logs, and holders to forget: silent ones without members, and those
-- retired before ?3.
SELECT EXISTS (SELECT 1 FROM holdfast_partition WHERE log IS NULL),
       EXISTS (SELECT 1 FROM holdfast_reader AS holder
                WHERE (holder.boot <> ?1 OR iif(holder.retired IS NULL, holder.expires <= ?2, holder.retired <= ?3))
                  AND NOT EXISTS (SELECT 1 FROM holdfast_member WHERE holder = holder.id))

-- name: delete_holders
DELETE FROM holdfast_reader
 WHERE (boot <> ?1 OR iif(retired IS NULL, expires <= ?2, retired <= ?3))
   AND NOT EXISTS (SELECT 1 FROM holdfast_member WHERE holder = holdfast_reader.id)
