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

-- name: wrong_partitions
-- Partitions whose kept totals are not those of their appends.
SELECT log.name, part.partition
  FROM holdfast_partition AS part
  JOIN holdfast_log AS log ON log.number = part.log
  LEFT JOIN (SELECT partition, min(base) AS first, max(base + count) AS next, sum(count) AS messages,
                    sum(length(data)) AS bytes
               FROM holdfast_append
              GROUP BY partition) AS its ON its.partition = part.number
 WHERE coalesce(its.bytes, 0) <> part.written - part.dropped
    OR coalesce(its.messages, 0) <> part.next - part.first
    OR its.first <> part.first
    OR its.next <> part.next
 ORDER BY log.name, part.partition
