-- Jobs: sending, time passing, leasing, settling. Plans of the hot ones are asserted in tests.

-- name: known_ids
SELECT id FROM holdfast_job
 WHERE queue = ?1 AND id IN (SELECT value FROM json_each(?2))

-- name: insert_job
INSERT INTO holdfast_job (
    seq, queue, lane, id, state, key, priority, max_attempts, token, sent, due, ready, expires, joined, held, timeout,
    slot
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: insert_dead
INSERT INTO holdfast_job (
    seq, queue, lane, id, state, key, priority, max_attempts, attempts, crashes, token, sent, due, ready, expires,
    ended, reason, timeout, slot
)
VALUES (?, ?, ?, ?, 'dead', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: insert_body
INSERT INTO holdfast_body (seq, body, headers) VALUES (?, ?, ?)

-- name: change_job
-- What a unique message changes; ?6 takes the job out of the line of its key.
UPDATE holdfast_job
   SET state = ?2, due = ?3, ready = ?4, held = ?5, joined = iif(?6, NULL, joined),
       lane = ?7, priority = ?8, max_attempts = ?9, expires = ?10, timeout = ?11
 WHERE seq = ?1

-- name: change_body
UPDATE holdfast_body SET body = ?2, headers = ?3 WHERE seq = ?1

-- name: front
-- The head of a key: whoever was leased once (joined 0), else who joined first.
SELECT seq, lane, held, joined FROM holdfast_job
 WHERE queue = ? AND key = ? AND joined IS NOT NULL
 ORDER BY joined, seq
 LIMIT 1

-- name: set_held
UPDATE holdfast_job SET held = ?2 WHERE seq = ?1

-- name: join
UPDATE holdfast_job SET joined = ?2, held = ?3 WHERE seq = ?1

-- name: over
-- Waiting jobs that have expired, longest over first.
SELECT seq, lane, state, key, held FROM holdfast_job
 WHERE queue = ?1 AND expires <= ?2 AND expires IS NOT NULL AND state IN ('scheduled', 'ready')
 ORDER BY expires
 LIMIT ?3

-- name: expire
UPDATE holdfast_job
   SET state = 'expired', ended = expires, reason = 'expired', joined = NULL, held = 0
 WHERE seq IN (SELECT value FROM json_each(?1))

-- name: due
-- Scheduled jobs whose time has come, oldest due first.
SELECT seq, lane, key, joined, due FROM holdfast_job
 WHERE queue = ?1 AND state = 'scheduled' AND due <= ?2
 ORDER BY due, seq
 LIMIT ?3

-- name: promote
UPDATE holdfast_job SET state = 'ready', ready = due
 WHERE seq IN (SELECT value FROM json_each(?1))

-- name: live_holder
SELECT 1 FROM holdfast_holder WHERE id = ? AND ended IS NULL

-- name: lanes
SELECT number, kind FROM holdfast_lane
 WHERE queue = ?1 AND format <= ?2 AND kind IN (SELECT value FROM json_each(?3))

-- name: ready
-- One lane in lease order.
SELECT -job.priority, job.ready, job.seq, job.lane, job.expires, job.id, job.token, job.attempts, job.key,
       job.crashes, job.max_attempts, job.timeout, job.sent, body.body, body.headers
  FROM holdfast_job AS job
  JOIN holdfast_body AS body ON body.seq = job.seq
 WHERE job.lane = ?1 AND job.state = 'ready' AND job.held = 0
 ORDER BY job.priority DESC, job.ready, job.seq
 LIMIT ?2

-- name: grant
UPDATE holdfast_job
   SET state = 'running', token = token + 1, attempts = attempts + 1,
       holder = ?2, lease_id = ?3, started = ?4, joined = iif(joined IS NULL, NULL, 0)
 WHERE seq IN (SELECT value FROM json_each(?1))

-- name: ack
-- ?1 is a list of [id, token], ?4 until when their results are kept. The cross join looks each receipt up by its id.
UPDATE holdfast_job
   SET state = 'done', ended = ?3, kept = ?4, reason = NULL, cancel = NULL, lease_id = NULL, joined = NULL
 WHERE seq IN (
           SELECT job.seq
             FROM json_each(?1) AS receipt
            CROSS JOIN holdfast_job AS job
            WHERE job.queue = ?2 AND job.id = receipt.value ->> 0 AND job.token = receipt.value ->> 1
              AND job.state = 'running'
       )
RETURNING id, seq, lane, key

-- name: insert_result
INSERT INTO holdfast_result (seq, value) VALUES (?, ?)

-- name: head
-- A job as the rules know it; ends with what only this store needs.
SELECT job.id, job.seq, lane.kind, lane.format, job.key, job.priority, job.max_attempts, job.sent, job.due, job.ready,
       job.expires, job.token, job.state, job.attempts, job.crashes, coalesce(job.joined, 0), job.held, job.holder,
       job.lease_id, job.started, job.ended, job.reason, job.cancel, job.kept, job.slot,
       job.lane, job.queue, queue.name
  FROM holdfast_job AS job
  JOIN holdfast_lane AS lane ON lane.number = job.lane
  JOIN holdfast_queue AS queue ON queue.number = job.queue
 WHERE job.state <> 'forgotten'

-- name: head_by_id
   AND job.queue = ? AND job.id = ?

-- name: heads_of_holder
   AND job.holder = ? AND job.state = 'running'

-- name: heads_of_lease
   AND +job.queue = ? AND job.lease_id = ? AND job.state = 'running'

-- name: save
UPDATE holdfast_job
   SET state = ?2, attempts = ?3, max_attempts = ?4, crashes = ?5, due = ?6, ready = ?7, expires = ?8, started = ?9,
       ended = ?10, reason = ?11, cancel = ?12, held = ?13,
       joined = iif(?14, NULL, joined), lease_id = iif(?2 = 'running', lease_id, NULL)
 WHERE seq = ?1

-- name: report
-- ?1 is a list of [id, token, fraction, note]. The cross join looks each receipt up by its id.
INSERT OR REPLACE INTO holdfast_progress (seq, token, fraction, note, at)
SELECT job.seq, job.token, report.value ->> 2, report.value ->> 3, ?3
  FROM json_each(?1) AS report
 CROSS JOIN holdfast_job AS job
 WHERE job.queue = ?2 AND job.id = report.value ->> 0 AND job.token = report.value ->> 1 AND job.state = 'running'
RETURNING (SELECT id FROM holdfast_job AS job WHERE job.seq = holdfast_progress.seq), token

-- name: last_run
SELECT coalesce(max(position), 0) FROM holdfast_run WHERE seq = ?

-- name: insert_run
INSERT INTO holdfast_run (seq, position, number, holder, started, ended, outcome, type, message, traceback)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: delete_run
DELETE FROM holdfast_run WHERE seq = ? AND position = ?

-- name: request_cancel
UPDATE holdfast_job SET cancel = ?2 WHERE seq = ?1 AND cancel IS NULL
