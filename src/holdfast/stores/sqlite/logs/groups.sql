-- Groups, their places, and the members that share them. Plans of the hot ones are asserted in tests.

-- name: find
SELECT number FROM holdfast_group WHERE log = ? AND name = ?

-- name: names
SELECT name FROM holdfast_group WHERE log = ? ORDER BY name

-- name: insert
INSERT INTO holdfast_group (log, name, seen, boot, uptime) VALUES (?, ?, ?, ?, ?)
RETURNING number

-- name: insert_place
INSERT INTO holdfast_place (reading, partition, next) VALUES (?, ?, ?)

-- name: begin_new
-- All groups of log ?1 begin the partitions from ?2 on and below ?3 at their first message.
INSERT INTO holdfast_place (reading, partition, next)
SELECT its.number, part.partition, 0
  FROM holdfast_group AS its, holdfast_partition AS part
 WHERE its.log = ?1 AND part.log = ?1 AND part.partition >= ?2 AND part.partition < ?3

-- name: change
UPDATE holdfast_group SET changes = changes + 1 WHERE number = ? RETURNING changes

-- name: change_all
UPDATE holdfast_group SET changes = changes + 1 WHERE log = ?

-- name: changes
SELECT changes FROM holdfast_group WHERE number = ?

-- name: seen
-- A member of group ?1 was seen, or something was committed; written down once a second.
UPDATE holdfast_group SET seen = ?2, boot = ?3, uptime = ?4
 WHERE number = ?1 AND (boot <> ?3 OR uptime <= ?4 - 1000)

-- name: seen_with
-- The same for the groups of all members of holder ?1.
UPDATE holdfast_group SET seen = ?2, boot = ?3, uptime = ?4
 WHERE number IN (SELECT reading FROM holdfast_member WHERE holder = ?1)

-- name: remove
DELETE FROM holdfast_group WHERE number = ? RETURNING number

-- name: remove_members
DELETE FROM holdfast_member WHERE reading = ?

-- name: remove_places
DELETE FROM holdfast_place WHERE reading = ?

-- name: remove_sought
DELETE FROM holdfast_sought WHERE reading = ?

-- name: remove_crashes
DELETE FROM holdfast_crash WHERE reading = ?

-- name: put_holder
-- Lets holder ?1 live on, if it was not retired.
INSERT INTO holdfast_reader (id, info, boot, expires) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (id) DO UPDATE SET info = ?2, boot = ?3, expires = ?4
 WHERE retired IS NULL
RETURNING id

-- name: retire_holder
INSERT INTO holdfast_reader (id, info, boot, expires, retired) VALUES (?1, '{}', ?2, 0, ?3)
    ON CONFLICT (id) DO UPDATE SET boot = ?2, expires = 0, retired = ?3
 WHERE retired IS NULL

-- name: insert_member
INSERT INTO holdfast_member (reading, holder) VALUES (?, ?) RETURNING number

-- name: put_member
-- A member that was taken for dead comes again.
INSERT OR IGNORE INTO holdfast_member (number, reading, holder) VALUES (?, ?, ?)

-- name: members
SELECT member.number, holder.info, holder.boot, holder.expires
  FROM holdfast_member AS member
  JOIN holdfast_reader AS holder ON holder.id = member.holder
 WHERE member.reading = ?

-- name: members_of
SELECT number, reading FROM holdfast_member WHERE holder = ?

-- name: remove_member
DELETE FROM holdfast_member WHERE number = ?

-- name: free
-- What a member held is nobody's.
UPDATE holdfast_place SET member = NULL WHERE member = ? RETURNING partition

-- name: let_go
-- The same of the partitions ?3, a list.
UPDATE holdfast_place SET member = NULL
 WHERE reading = ?1 AND member = ?2 AND partition IN (SELECT value FROM json_each(?3))

-- name: take
-- Up to ?3 partitions that are nobody's become a member's, with a version of this instant (?4). So the versions of a
-- group that is made again are above those it had before.
UPDATE holdfast_place SET member = ?2, version = max(version + 1, ?4)
 WHERE reading = ?1
   AND partition IN (
           SELECT partition FROM holdfast_place
            WHERE reading = ?1 AND member IS NULL
            ORDER BY partition
            LIMIT ?3
       )

-- name: held
-- One that was never sought has begun with its group, whose number is never used again and below any ms.
SELECT place.partition, place.next, place.version, place.finished, coalesce(sought.begun, place.reading)
  FROM holdfast_place AS place
  LEFT JOIN holdfast_sought AS sought ON sought.reading = place.reading AND sought.partition = place.partition
 WHERE place.reading = ?1 AND place.member = ?2
 ORDER BY place.partition

-- name: shares
-- How many partitions there are, and how many are nobody's.
SELECT count(*), count(*) - count(member) FROM holdfast_place WHERE reading = ?

-- name: place
SELECT place.next, place.version, place.member, place.finished, part.first, part.next
  FROM holdfast_place AS place
  JOIN holdfast_partition AS part ON part.log = ?1 AND part.partition = place.partition
 WHERE place.reading = ?2 AND place.partition = ?3

-- name: move
UPDATE holdfast_place SET next = ?3, finished = ?4 WHERE reading = ?1 AND partition = ?2

-- name: seek
UPDATE holdfast_place SET next = ?3, finished = NULL, version = version + 1 WHERE reading = ?1 AND partition = ?2

-- name: begin_anew
-- A seek at ?3.
INSERT INTO holdfast_sought (reading, partition, begun) VALUES (?1, ?2, ?3)
    ON CONFLICT (reading, partition) DO UPDATE SET begun = max(begun + 1, ?3)

-- name: get_crashes
SELECT position, crashes FROM holdfast_crash WHERE reading = ? AND partition = ? ORDER BY position

-- name: put_crashes
INSERT OR REPLACE INTO holdfast_crash (reading, partition, position, crashes) VALUES (?, ?, ?, ?)

-- name: forget_crashes
DELETE FROM holdfast_crash WHERE reading = ? AND partition = ? AND position < ?

-- name: lags
-- Each place of group ?2 of log ?1, with the time of the append that is to be read next, and who reads.
SELECT place.partition, place.next, part.first, part.next,
       (SELECT append.time FROM holdfast_append AS append
         WHERE append.partition = part.number AND append.base <= max(place.next, part.first)
         ORDER BY append.base DESC
         LIMIT 1),
       place.member
  FROM holdfast_place AS place
 CROSS JOIN holdfast_partition AS part
 WHERE place.reading = ?2 AND part.log = ?1 AND part.partition = place.partition
 ORDER BY place.partition

-- name: groups
-- The groups of log ?1, and for how many ms nothing was seen of each.
SELECT number, name, max(0, iif(boot = ?2, ?3 - uptime, ?4 - seen)) FROM holdfast_group
 WHERE log = ?1
 ORDER BY name

-- name: nexts
-- The places of all groups of a log.
SELECT place.partition, its.name, place.next
  FROM holdfast_group AS its
  JOIN holdfast_place AS place ON place.reading = its.number
 WHERE its.log = ?

-- name: numbers
SELECT number FROM holdfast_group WHERE log = ?
