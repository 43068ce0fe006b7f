"""The bare loop on each store: what its own statements can do at best, and what the product is measured against.

One thread leases 500 jobs, decodes their JSON arguments, calls the function, settles them with the fence and records
their completion; there is no worker, no other thread, no event, no heartbeat. The loops change with the stores'
statements and with nothing else.
"""

from typing import Final

BATCH: Final = 500
