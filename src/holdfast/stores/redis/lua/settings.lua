-- uses: queue
-- The settings of a queue as JSON; nothing when there is no such queue. Changes nothing.
return call('HGET', K .. ':settings', 'json')
