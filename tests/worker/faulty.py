"""A store that fails on demand, before or after a call took effect."""

import threading
from collections import Counter
from functools import partial

from holdfast.errors import BackendError


class Faulty:
    """Passes every call on to ``store``, except those that were planned to fail."""

    def __init__(self, store):
        self._store = store
        self._plans = {}
        self._changed = threading.Condition()
        self.calls = Counter()

    def fail(self, verb, times=1, *, after=False, retryable=True):
        """Let the next ``times`` calls of ``verb`` raise; ``after``: once they took effect, with unknown outcome."""
        with self._changed:
            self._plans[verb] = (times, after, retryable)

    def mend(self):
        with self._changed:
            self._plans = {}

    def wait_for_calls(self, verb, count):
        with self._changed:
            assert self._changed.wait_for(lambda: self.calls[verb] >= count, 10), self.calls

    def __getattr__(self, name):
        attribute = getattr(self._store, name)
        return partial(self._call, name, attribute) if callable(attribute) else attribute

    def _call(self, verb, function, *args, **kwargs):
        with self._changed:
            self.calls[verb] += 1
            self._changed.notify_all()
            times, after, retryable = self._plans.get(verb, (0, False, True))
            if times:
                self._plans[verb] = (times - 1, after, retryable)
        if times and after:
            function(*args, **kwargs)
        if times:
            raise BackendError(f"{verb} failed on demand", retryable=retryable, outcome_unknown=after)
        return function(*args, **kwargs)
