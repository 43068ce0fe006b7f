-- Queues, lanes and counts.

-- name: find_queue
SELECT number, name, settings, paused, token
  FROM holdfast_queue
 WHERE name = ?

-- name: insert_queue
-- Its jobs' tokens start above those of a destroyed queue of the same name.
INSERT INTO holdfast_queue (name, settings, token)
VALUES (?1, ?2, coalesce((SELECT token FROM holdfast_destroyed WHERE name = ?1), 0))
RETURNING number, name, settings, paused, token

-- name: all_queues
SELECT number, name, settings, paused, token
  FROM holdfast_queue
 ORDER BY name

-- name: set_settings
UPDATE holdfast_queue SET settings = ?2 WHERE number = ?1

-- name: set_paused
UPDATE holdfast_queue SET paused = ?2 WHERE number = ?1

-- name: raise_token
-- Ids that are no longer remembered may come back, and old receipts must stay lost.
UPDATE holdfast_queue SET token = ?2 WHERE number = ?1

-- name: insert_lane
INSERT OR IGNORE INTO holdfast_lane (queue, kind, format) VALUES (?, ?, ?)

-- name: find_lane
SELECT number FROM holdfast_lane WHERE queue = ? AND kind = ? AND format = ?

-- name: add_count
INSERT INTO holdfast_count (lane, state, jobs)
VALUES (?1, ?2, ?3)
    ON CONFLICT (lane, state) DO UPDATE SET jobs = jobs + excluded.jobs

-- name: counts
SELECT count.state, sum(count.jobs)
  FROM holdfast_lane AS lane
  JOIN holdfast_count AS count ON count.lane = lane.number
 WHERE lane.queue = ?
 GROUP BY count.state

-- name: standing
-- Ready jobs that are not held, by kind and format.
SELECT lane.kind, lane.format, sum(CASE count.state WHEN 'held' THEN -count.jobs ELSE count.jobs END) AS standing
  FROM holdfast_lane AS lane
  JOIN holdfast_count AS count ON count.lane = lane.number AND count.state IN ('ready', 'held')
 WHERE lane.queue = ?
 GROUP BY lane.number
HAVING standing > 0

-- name: oldest_ready
-- The first of each priority of each lane, found by skipping through the index of the ready order.
WITH RECURSIVE step (lane, priority) AS (
    SELECT lane.number, (
               SELECT max(job.priority) FROM holdfast_job AS job
                WHERE job.lane = lane.number AND job.state = 'ready' AND job.held = 0
           )
      FROM holdfast_lane AS lane
     WHERE lane.queue = ?
    UNION ALL
    SELECT step.lane, (
               SELECT max(job.priority) FROM holdfast_job AS job
                WHERE job.lane = step.lane AND job.state = 'ready' AND job.held = 0
                  AND job.priority < step.priority
           )
      FROM step
     WHERE step.priority IS NOT NULL
)
SELECT min((
           SELECT min(job.ready) FROM holdfast_job AS job
            WHERE job.lane = step.lane AND job.state = 'ready' AND job.held = 0
              AND job.priority = step.priority
       ))
  FROM step
 WHERE step.priority IS NOT NULL

-- name: last_seq
SELECT coalesce(max(seq), 0) FROM holdfast_job
