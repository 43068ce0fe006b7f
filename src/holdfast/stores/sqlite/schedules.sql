-- Schedules and their ticks. Plans are asserted in tests.

-- name: find
SELECT number, definition, paused, next, version, created, ticks
  FROM holdfast_schedule
 WHERE queue = ?1 AND name = ?2

-- name: insert
INSERT INTO holdfast_schedule (queue, name, definition, source, paused, next, version, created)
VALUES (?, ?, ?, ?, ?, ?, 1, ?)

-- name: update
UPDATE holdfast_schedule
   SET definition = ?2, source = ?3, paused = ?4, next = ?5, version = version + 1
 WHERE number = ?1

-- name: delete
DELETE FROM holdfast_schedule WHERE number = ?

-- name: delete_ticks
DELETE FROM holdfast_tick WHERE schedule = ?

-- name: list
SELECT queue.name, schedule.name, schedule.definition, schedule.paused, schedule.next, schedule.version,
       schedule.created
  FROM holdfast_queue AS queue
 CROSS JOIN holdfast_schedule AS schedule ON schedule.queue = queue.number
 WHERE (?1 IS NULL OR queue.name = ?1)
   AND (?2 IS NULL OR schedule.name = ?2)
   AND queue.name >= ?3
   AND (queue.name > ?3 OR schedule.name > ?4)
 ORDER BY queue.name, schedule.name
 LIMIT ?5

-- name: due
-- Schedules of a queue whose tick has come by ?2: manual ones, and those of ?3. Newer releases fire newer formats.
SELECT ?1, name, definition, paused, next, version, created
  FROM holdfast_schedule
 WHERE queue = (SELECT number FROM holdfast_queue WHERE name = ?1)
   AND next <= ?2
   AND format = 1
   AND (source = 'manual' OR name IN (SELECT value FROM json_each(?3)))
 ORDER BY next
 LIMIT ?4

-- name: next
-- The first tick after ?3 in any of the queues ?1, of manual schedules and of those that ?2 names.
SELECT min((
           SELECT schedule.next FROM holdfast_schedule AS schedule
            WHERE schedule.queue = queue.number AND schedule.next > ?3
              AND (schedule.source = 'manual'
                   OR queue.name || char(31) || schedule.name IN (SELECT value FROM json_each(?2)))
            ORDER BY schedule.next
            LIMIT 1
       ))
  FROM holdfast_queue AS queue
 WHERE queue.name IN (SELECT value FROM json_each(?1))

-- name: fired
-- ?3 is how many ticks were written down more than removed.
UPDATE holdfast_schedule SET next = ?2, ticks = ticks + ?3 WHERE number = ?1

-- name: known_ticks
SELECT tick FROM holdfast_tick
 WHERE schedule = ?1 AND tick IN (SELECT value FROM json_each(?2))

-- name: insert_tick
INSERT INTO holdfast_tick (schedule, tick, queue, outcome, job, at, open) VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: open
-- The oldest ?4 ticks whose job was not seen to have ended, and whether it has by ?3.
SELECT tick.tick, tick.job,
       job.seq IS NULL
       OR job.state NOT IN ('scheduled', 'ready', 'running')
       OR (job.state <> 'running' AND job.expires <= ?3 AND job.expires IS NOT NULL)
  FROM holdfast_tick AS tick INDEXED BY holdfast_tick_open
  LEFT JOIN holdfast_job AS job ON job.queue = ?2 AND job.id = tick.job
 WHERE tick.schedule = ?1 AND tick.open = 1
 ORDER BY tick.tick
 LIMIT ?4

-- name: close
UPDATE holdfast_tick SET open = 0
 WHERE schedule = ?1 AND tick IN (SELECT value FROM json_each(?2))

-- name: prune
-- The oldest ?2 ticks of a schedule, those aside whose job may live.
DELETE FROM holdfast_tick
 WHERE schedule = ?1
   AND tick IN (SELECT tick FROM holdfast_tick WHERE schedule = ?1 AND open = 0 ORDER BY tick LIMIT ?2)
RETURNING tick

-- name: aged
-- Ticks of a queue up to ?2, those aside whose job may live.
SELECT schedule, tick FROM holdfast_tick
 WHERE queue = ?1 AND tick <= ?2 AND open = 0
 ORDER BY tick
 LIMIT ?3

-- name: delete_tick
DELETE FROM holdfast_tick WHERE schedule = ? AND tick = ?

-- name: fewer_ticks
UPDATE holdfast_schedule SET ticks = ticks - ?2 WHERE number = ?1

-- name: ticks
SELECT tick.tick, tick.outcome, tick.job, tick.at
  FROM holdfast_schedule AS schedule
  JOIN holdfast_tick AS tick ON tick.schedule = schedule.number
 WHERE schedule.queue = (SELECT number FROM holdfast_queue WHERE name = ?1) AND schedule.name = ?2
   AND tick.tick < ?3
 ORDER BY tick.tick DESC
 LIMIT ?4

-- name: destroy_ticks
DELETE FROM holdfast_tick WHERE schedule IN (SELECT number FROM holdfast_schedule WHERE queue = ?)

-- name: destroy_schedules
DELETE FROM holdfast_schedule WHERE queue = ?
