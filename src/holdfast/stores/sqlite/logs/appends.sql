-- Logs and what is appended to them. Plans of the hot ones are asserted in tests.

-- name: find_log
SELECT number, name, settings FROM holdfast_log WHERE name = ?

-- name: names
SELECT name FROM holdfast_log ORDER BY name

-- name: logs
SELECT number, name, settings FROM holdfast_log ORDER BY name

-- name: insert_log
INSERT INTO holdfast_log (name, settings) VALUES (?, ?)

-- name: set_settings
UPDATE holdfast_log SET settings = ?2 WHERE number = ?1

-- name: settings
SELECT settings FROM holdfast_log WHERE number = ?

-- name: insert_partition
INSERT INTO holdfast_partition (log, partition) VALUES (?, ?)

-- name: partitions
SELECT number, partition, first, next, written, dropped, bodies FROM holdfast_partition
 WHERE log = ?
 ORDER BY partition

-- name: partition
SELECT number, partition, first, next, written, dropped, bodies FROM holdfast_partition
 WHERE log = ? AND partition = ?

-- name: size
SELECT coalesce(sum(written - dropped), 0) FROM holdfast_partition WHERE log = ?

-- name: grow
-- Makes room for ?2 messages in ?3 bytes, ?4 of them bodies; returns where they lie.
UPDATE holdfast_partition
   SET next = next + ?2, written = written + ?3, bodies = bodies + ?4, time = max(time, ?5)
 WHERE number = ?1
RETURNING next - ?2, time, written - ?3, bodies - ?4

-- name: insert_append
INSERT INTO holdfast_append (partition, base, count, time, before, bodies, attributes, crc, data)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
RETURNING number

-- name: window
SELECT window FROM holdfast_producer WHERE partition = ? AND id = ?

-- name: put_window
INSERT INTO holdfast_producer (partition, id, used, window) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (partition, id) DO UPDATE SET used = ?3, window = ?4

-- name: forget_producers
-- All but the last ?2 of a partition.
DELETE FROM holdfast_producer
 WHERE partition = ?1
   AND used <= (
           SELECT used FROM holdfast_producer
            WHERE partition = ?1
            ORDER BY used DESC
            LIMIT 1 OFFSET ?2
       )
