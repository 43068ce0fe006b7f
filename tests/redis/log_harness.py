"""The logs of a Redis under test: a place on servers that tests share, with a clock that stands until it is moved."""

from pathlib import Path

from holdfast.config import parse_url
from holdfast.stores import open_logs
from holdfast.stores.redis.logs import RedisLogs
from holdfast.testing.clock import SharedClock
from holdfast.testing.conformance.logs.harness import LogHarness
from tests.redis.fixtures import Place


class RedisLogHarness(LogHarness):
    """Every handle is a store of its own on the same keys, as another process would have it.

    Whoever gives the place empties it afterwards. ``options`` are more of the URL's, such as ``&wait=1``.
    """

    def __init__(self, place: Place, folder: Path, options: str = "") -> None:
        self.place = place
        self._url = f"{place.url}?prefix={place.prefix}{options}"
        self._clock_file = folder / "clock"
        self.clock = SharedClock(self._clock_file, ticking=False)
        self._handles: list[RedisLogs] = []

    def open_logs(self) -> RedisLogs:
        handle = open_logs(parse_url(self._url), clock=self.clock)
        assert isinstance(handle, RedisLogs)
        self._handles.append(handle)
        return handle

    def close(self) -> None:
        while self._handles:
            self._handles.pop().close()

    def reopen(self) -> RedisLogs:
        self.close()
        return self.open_logs()

    def address(self) -> tuple[str, Path]:
        return self._url, self._clock_file
