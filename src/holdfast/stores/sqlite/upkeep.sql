-- Holders, retention, and what removes many jobs at once.

-- name: has_ended
SELECT 1 FROM holdfast_holder WHERE id = ? AND ended IS NOT NULL

-- name: put_holder
INSERT INTO holdfast_holder (id, info, boot, expires)
VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (id) DO UPDATE SET info = excluded.info, boot = excluded.boot, expires = excluded.expires
RETURNING command

-- name: set_command
UPDATE holdfast_holder SET command = ?2 WHERE id = ?1 AND ended IS NULL RETURNING id

-- name: end_holder
UPDATE holdfast_holder SET ended = ?2 WHERE id = ?1 AND ended IS NULL RETURNING id

-- name: live_holders
SELECT info, boot, expires FROM holdfast_holder WHERE ended IS NULL ORDER BY id

-- name: silent_holders
SELECT id FROM holdfast_holder WHERE ended IS NULL AND (boot <> ?1 OR expires <= ?2)

-- name: soonest
-- When (boot ms) the first of the other holders falls silent; those of another boot have.
SELECT min(iif(boot = ?2, expires, 0)) FROM holdfast_holder WHERE ended IS NULL AND id <> ?1

-- name: signs
-- Whether there are silent holders, or ended ones to forget, and whether results that are kept no longer.
SELECT EXISTS (
           SELECT 1 FROM holdfast_holder
            WHERE (ended IS NULL AND (boot <> ?1 OR expires <= ?2))
               OR (ended IS NOT NULL AND (boot <> ?1 OR ended <= ?3))
       ),
       EXISTS (SELECT 1 FROM holdfast_job WHERE kept > 0 AND kept <= ?4)

-- name: signs_of_queues
-- Of each queue the first expiry, due time and ends of those jobs that retention may look at, the first
-- tick, the first end of a slot without a job, and its counts by lane.
SELECT queue.name, queue.settings,
       (
           SELECT min(expires) FROM holdfast_job
            WHERE queue = queue.number AND expires IS NOT NULL AND state IN ('scheduled', 'ready')
       ),
       (SELECT min(due) FROM holdfast_job WHERE queue = queue.number AND state = 'scheduled'),
       (SELECT min(ended) FROM holdfast_job WHERE queue = queue.number AND state = 'forgotten'),
       (
           SELECT min((
                      SELECT min(ended) FROM holdfast_job
                       WHERE queue = queue.number AND state = which.value AND kept = 0
                         AND state IN ('done', 'dead', 'cancelled', 'expired')
                  ))
             FROM json_each('["done", "cancelled", "expired"]') AS which
       ),
       (
           SELECT min(ended) FROM holdfast_job
            WHERE queue = queue.number AND state = 'dead' AND kept = 0
              AND state IN ('done', 'dead', 'cancelled', 'expired')
       ),
       (SELECT min(tick) FROM holdfast_tick WHERE queue = queue.number AND open = 0),
       (SELECT min(lasts) FROM holdfast_slot WHERE queue = queue.number AND seq IS NULL),
       (
           SELECT json_group_array(json_array(count.state, count.jobs))
             FROM holdfast_lane AS lane
             JOIN holdfast_count AS count ON count.lane = lane.number
            WHERE lane.queue = queue.number
       )
  FROM holdfast_queue AS queue

-- name: delete_holders
DELETE FROM holdfast_holder WHERE ended IS NOT NULL AND (boot <> ?1 OR ended <= ?2)

-- name: cancels
SELECT queue.name, job.id, job.token
  FROM holdfast_job AS job
  JOIN holdfast_queue AS queue ON queue.number = job.queue
 WHERE job.holder = ? AND job.state = 'running' AND job.cancel IS NOT NULL

-- name: paused
SELECT name FROM holdfast_queue WHERE paused

-- name: lapsed
SELECT seq, lane FROM holdfast_job WHERE kept > 0 AND kept <= ?1 LIMIT ?2

-- name: lapse
UPDATE holdfast_job SET kept = 0 WHERE seq IN (SELECT value FROM json_each(?1))

-- name: aged
-- The oldest ended jobs of a queue and state that retention may look at, those past ?3 marked.
SELECT seq, lane, ended <= ?3 FROM holdfast_job
 WHERE queue = ?1 AND state = ?2 AND state IN ('done', 'dead', 'cancelled', 'expired') AND kept = 0
 ORDER BY ended, seq
 LIMIT ?4

-- name: forget
UPDATE holdfast_job
   SET state = 'forgotten', ended = coalesce(ended, min(?2, coalesce(expires, ?2))), joined = NULL, held = 0, kept = 0
 WHERE seq IN (SELECT value FROM json_each(?1))

-- name: delete_bodies
DELETE FROM holdfast_body WHERE seq IN (SELECT value FROM json_each(?1))

-- name: delete_results
DELETE FROM holdfast_result WHERE seq IN (SELECT value FROM json_each(?1))

-- name: delete_runs
DELETE FROM holdfast_run WHERE seq IN (SELECT value FROM json_each(?1))

-- name: delete_progress
DELETE FROM holdfast_progress WHERE seq IN (SELECT value FROM json_each(?1))

-- name: delete_forgotten
DELETE FROM holdfast_job
 WHERE seq IN (
           SELECT seq FROM holdfast_job
            WHERE queue = ?1 AND state = 'forgotten' AND ended <= ?2
            LIMIT ?3
       )
RETURNING token


-- name: in_ready
-- The next jobs of a queue and state, by seq after ?3 and up to ?4. Each state goes through the index that knows it;
-- ready jobs, which stand in the indexes of their lanes or keys, are found by walking.
SELECT seq, lane, state, held, kept, iif(joined IS NULL OR held, NULL, key) FROM holdfast_job
 WHERE +queue = ?1 AND state = ?2 AND seq > ?3 AND seq <= ?4
 ORDER BY seq
 LIMIT ?5

-- name: in_scheduled
SELECT seq, lane, state, held, kept, iif(joined IS NULL OR held, NULL, key) FROM holdfast_job
 WHERE queue = ?1 AND state = 'scheduled' AND state = ?2 AND +seq > ?3 AND +seq <= ?4
 LIMIT ?5

-- name: in_ended
SELECT seq, lane, state, held, kept, iif(joined IS NULL OR held, NULL, key) FROM holdfast_job
 WHERE queue = ?1 AND state = ?2 AND state IN ('done', 'dead', 'cancelled', 'expired') AND +seq > ?3 AND +seq <= ?4
 LIMIT ?5

-- name: in_states
-- Those of the ids in ?2 that are in one of the states in ?3, as a job at ?4 reads that is due or has expired.
SELECT seq, lane, state, held, kept, iif(joined IS NULL OR held, NULL, key), id FROM holdfast_job
 WHERE queue = ?1 AND id IN (SELECT value FROM json_each(?2))
   AND CASE WHEN state IN ('scheduled', 'ready') AND expires <= ?4 THEN 'expired'
            WHEN state = 'scheduled' AND due <= ?4 THEN 'ready'
            ELSE state
       END IN (SELECT value FROM json_each(?3))

-- name: jobs_of_queue
SELECT count(*) FILTER (WHERE state <> 'forgotten'), coalesce(max(token), 0) FROM holdfast_job WHERE queue = ?

-- name: destroy_bodies
DELETE FROM holdfast_body WHERE seq IN (SELECT seq FROM holdfast_job WHERE queue = ?)

-- name: destroy_results
DELETE FROM holdfast_result WHERE seq IN (SELECT seq FROM holdfast_job WHERE queue = ?)

-- name: destroy_runs
DELETE FROM holdfast_run WHERE seq IN (SELECT seq FROM holdfast_job WHERE queue = ?)

-- name: destroy_progress
DELETE FROM holdfast_progress WHERE seq IN (SELECT seq FROM holdfast_job WHERE queue = ?)

-- name: destroy_jobs
DELETE FROM holdfast_job WHERE queue = ?

-- name: destroy_counts
DELETE FROM holdfast_count WHERE lane IN (SELECT number FROM holdfast_lane WHERE queue = ?)

-- name: destroy_lanes
DELETE FROM holdfast_lane WHERE queue = ?

-- name: destroy_queue
DELETE FROM holdfast_queue WHERE number = ?

-- name: remember_token
INSERT OR REPLACE INTO holdfast_destroyed (name, token) VALUES (?, ?)
