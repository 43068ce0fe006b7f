"""How jobs are run: in threads, or on an event loop. A worker feeds every runner in the same way."""
