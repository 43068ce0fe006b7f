-- Looking at jobs without changing them. A job past its expiry reads as expired, one that is due as ready.

-- name: view
WITH job AS (
    SELECT seq, queue, lane, id, key, priority, attempts, max_attempts, crashes, token, sent, due, expires, started,
           ended, holder, held, cancel, reason, timeout, slot,
           CASE WHEN state IN ('scheduled', 'ready') AND expires <= :now THEN 'expired'
                WHEN state = 'scheduled' AND due <= :now THEN 'ready'
                ELSE state
           END AS state
      FROM holdfast_job
     WHERE state <> 'forgotten'
)
SELECT job.id, lane.kind, job.state, job.key, job.priority, job.attempts, job.max_attempts, job.crashes, job.token,
       job.sent, job.due, job.expires, job.started, job.ended, job.holder, job.held, job.cancel IS NOT NULL, job.reason,
       job.timeout, lane.format, coalesce(body.body, x''), body.headers, job.slot, progress.fraction, progress.note,
       progress.at, job.seq
  FROM job
  JOIN holdfast_lane AS lane ON lane.number = job.lane
  LEFT JOIN holdfast_body AS body ON :bodies AND body.seq = job.seq
  LEFT JOIN holdfast_progress AS progress ON progress.seq = job.seq AND progress.token = job.token
 WHERE

-- name: by_id
       job.queue = (SELECT number FROM holdfast_queue WHERE name = :queue) AND job.id = :id

-- name: page
-- By seq: the plus keeps the queue's own index, which would have to be sorted, out of it.
       +job.queue = (SELECT number FROM holdfast_queue WHERE name = :queue)
   AND job.seq < :before
   AND job.seq >= :floor
   AND job.state IN (SELECT value FROM json_each(:states))
   AND (:kind IS NULL OR lane.kind = :kind)
   AND (:since IS NULL OR job.sent >= :since)
   AND (:until IS NULL OR job.sent < :until)
   AND (:ended_since IS NULL OR coalesce(job.ended, iif(job.state = 'expired', job.expires, NULL)) >= :ended_since)
   AND (:ended_until IS NULL OR coalesce(job.ended, iif(job.state = 'expired', job.expires, NULL)) < :ended_until)
   AND (:key IS NULL OR job.key = :key)
   AND (:headers IS NULL OR NOT EXISTS (
           SELECT 1 FROM json_each(:headers) AS wanted
            WHERE NOT EXISTS (
                      SELECT 1 FROM holdfast_body AS its, json_each(its.headers) AS header
                       WHERE its.seq = job.seq AND header.key = wanted.key AND header.value = wanted.value
                  )
       ))
   AND (:reason IS NULL OR :reason = coalesce(job.reason, iif(job.state = 'expired', 'expired', NULL)))
   AND (:text IS NULL OR instr(coalesce(job.reason, iif(job.state = 'expired', 'expired', '')), :text) OR instr((
           SELECT run.type || ': ' || run.message FROM holdfast_run AS run
            WHERE run.seq = job.seq
            ORDER BY run.position DESC
            LIMIT 1
       ), :text))
 ORDER BY job.seq DESC
 LIMIT :limit

-- name: floor
-- The last of the jobs that a page looks at, whatever their queue; none when fewer are left.
SELECT seq FROM holdfast_job
 WHERE seq < ?1
 ORDER BY seq DESC
 LIMIT 1 OFFSET ?2

-- name: runs
SELECT number, holder, started, ended, outcome, type, message, traceback
  FROM holdfast_run
 WHERE seq = ?
 ORDER BY position

-- name: outcomes
SELECT job.id, job.state, job.expires, job.reason, result.value, job.seq
  FROM holdfast_job AS job
  LEFT JOIN holdfast_result AS result ON result.seq = job.seq
 WHERE job.queue = (SELECT number FROM holdfast_queue WHERE name = ?1)
   AND job.id IN (SELECT value FROM json_each(?2))
   AND (job.state IN ('done', 'dead', 'cancelled', 'expired')
        OR (job.state IN ('scheduled', 'ready') AND job.expires <= ?3))

-- name: unended
-- Those of the ids in ?2 that live and have not ended, and when those that wait expire.
SELECT id, iif(state = 'running', NULL, expires) FROM holdfast_job
 WHERE queue = (SELECT number FROM holdfast_queue WHERE name = ?1)
   AND id IN (SELECT value FROM json_each(?2))
   AND (state = 'running' OR (state IN ('scheduled', 'ready') AND (expires IS NULL OR expires > ?3)))

-- name: chance
-- When a lease of these kinds may next find something: 0 for now, else the ms at which the next job is due
-- or expires (which may free a key), 9e15 for never. And the holders that live.
SELECT min(CASE WHEN EXISTS (
                    SELECT 1 FROM holdfast_lane AS lane
                      JOIN holdfast_job AS job ON job.lane = lane.number AND job.state = 'ready' AND job.held = 0
                     WHERE lane.queue = queue.number AND lane.format <= ?2
                       AND lane.kind IN (SELECT value FROM json_each(?3))
                )
                THEN 0
                ELSE min(coalesce((
                             SELECT min(due) FROM holdfast_job AS job
                              WHERE job.queue = queue.number AND job.state = 'scheduled'
                         ), 9e15), coalesce((
                             SELECT min(expires) FROM holdfast_job AS job
                              WHERE job.queue = queue.number AND job.state IN ('scheduled', 'ready')
                                AND job.expires IS NOT NULL
                         ), 9e15))
           END), (SELECT json_group_array(id) FROM holdfast_holder WHERE ended IS NULL)
  FROM holdfast_queue AS queue
 WHERE NOT queue.paused AND queue.name IN (SELECT value FROM json_each(?1))
