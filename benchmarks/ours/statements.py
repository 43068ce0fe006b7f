"""Counts the SQL statements that this process makes, heartbeats apart. The tests of idle processes count with it too.

The change counter does not count: `PRAGMA data_version` reads no table.
"""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from holdfast.stores.sqlite.connection import Connection
from holdfast.stores.sqlite.statements import statements

BEAT = statements("upkeep.sql")["has_ended"]
METHODS = ("execute", "rows", "executemany")

Replace = Callable[[type, str, object], None]


class Statements:
    """`made` holds every statement since the last `clear` that is not part of a beat. `replace` patches a class."""

    def __init__(self, replace: Replace = setattr) -> None:
        self._lock = threading.Lock()
        self._open: dict[int, list[str]] = {}
        self.made: Counter[str] = Counter()
        for name in METHODS:
            replace(Connection, name, self._counting(getattr(Connection, name)))

    def clear(self) -> None:
        with self._lock:
            self.made.clear()

    @property
    def count(self) -> int:
        with self._lock:
            return self.made.total()

    def _counting(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def counted(connection: Connection, sql: str, params: Any = ()) -> Any:
            try:
                return method(connection, sql, params)
            finally:
                self._note(connection.number, sql)

        return counted

    def _note(self, connection: int, sql: str) -> None:
        with self._lock:
            if "data_version" in sql:
                return
            if sql.startswith("BEGIN"):
                self._open[connection] = []
            if connection not in self._open:
                self.made[sql] += 1
                return
            self._open[connection].append(sql)
            if sql in ("COMMIT", "ROLLBACK"):
                transaction = self._open.pop(connection)
                if BEAT not in transaction:
                    self.made.update(transaction)
