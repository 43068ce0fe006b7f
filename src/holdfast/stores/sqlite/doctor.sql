-- What an examination looks at. Some of it reads whole tables.

-- name: wrong_counts
-- Kept counts beside real ones, where they differ.
WITH real (lane, state, jobs) AS (
    SELECT lane, state, count(*) FROM holdfast_job WHERE state <> 'forgotten' GROUP BY lane, state
    UNION ALL
    SELECT lane, 'held', count(*) FROM holdfast_job WHERE state = 'ready' AND held = 1 GROUP BY lane
    UNION ALL
    SELECT lane, 'kept', count(*) FROM holdfast_job WHERE state = 'done' AND kept > 0 GROUP BY lane
), kept (lane, state, jobs) AS (
    SELECT lane, state, jobs FROM holdfast_count WHERE jobs <> 0
), both (lane, state, counted, found) AS (
    SELECT lane, state, sum(counted), sum(found)
      FROM (SELECT lane, state, jobs AS counted, 0 AS found FROM kept
            UNION ALL
            SELECT lane, state, 0, jobs FROM real)
     GROUP BY lane, state
    HAVING sum(counted) <> sum(found)
)
SELECT queue.name, lane.kind, both.state, both.counted, both.found
  FROM both
  LEFT JOIN holdfast_lane AS lane ON lane.number = both.lane
  LEFT JOIN holdfast_queue AS queue ON queue.number = lane.queue
 ORDER BY queue.name, lane.kind, both.state
