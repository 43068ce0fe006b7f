-- The slots of unique keys.

-- name: slots
-- Those of the keys in ?2 that were taken ever, each with the job that took it last. A forgotten job is none.
SELECT slot.key, slot.id, slot.until, slot.lasts, job.state, job.expires, slot.seq
  FROM json_each(?2) AS wanted
 CROSS JOIN holdfast_slot AS slot ON slot.queue = ?1 AND slot.key = wanted.value
  LEFT JOIN holdfast_job AS job ON job.seq = slot.seq

-- name: take
INSERT INTO holdfast_slot (queue, key, seq, id, until, lasts)
VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (queue, key) DO UPDATE
       SET seq = excluded.seq, id = excluded.id, until = excluded.until, lasts = excluded.lasts

-- name: leave
-- The jobs are forgotten; their slots last as long as their within.
UPDATE holdfast_slot SET seq = NULL
 WHERE seq IN (SELECT value FROM json_each(?1))

-- name: delete_left
DELETE FROM holdfast_slot
 WHERE queue = ?1
   AND key IN (
           SELECT key FROM holdfast_slot
            WHERE queue = ?1 AND seq IS NULL AND lasts <= ?2
            LIMIT ?3
       )
RETURNING 1

-- name: destroy_slots
DELETE FROM holdfast_slot WHERE queue = ?
