"""Brings a file's tables to what this release knows; runs by itself whenever a file is opened for writing.

Migrations are numbered files. A file records the number of each that it has had, so that one which comes to be known
later than its successors is still carried out.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from holdfast.errors import NotSupported
from holdfast.stores.sqlite.connection import Connection, Statements

_RECORD = "migration "


def migrate(connection: Connection) -> None:
    """Carry out the migrations that the file lacks, each once and in order, whichever process comes first.

    ``NotSupported`` when a newer release has migrated the file.
    """
    if applied(connection) == set(known()):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        have = applied(connection)
        if unknown := have - set(known()):
            raise NotSupported(
                f"the file has tables of version {max(unknown)}, this release knows {max(known())}; upgrade Holdfast"
            )
        for number in sorted(set(known()) - have):
            for statement in _statements(number):
                connection.execute(statement)
        for number in known():
            connection.execute("INSERT OR REPLACE INTO holdfast_meta VALUES (?, 1)", (f"{_RECORD}{number}",))
        # The first release wrote this alone, and refuses a file whose version is another.
        connection.execute("INSERT OR REPLACE INTO holdfast_meta VALUES ('version', ?)", (max(known()),))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def applied(connection: Statements) -> set[int]:
    """Return the numbers of the migrations that the file has had; empty when it has no tables."""
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'holdfast_meta'"):
        return set()
    meta: dict[str, int] = dict(connection.execute("SELECT name, value FROM holdfast_meta"))
    return {int(meta["version"]), *(int(name.removeprefix(_RECORD)) for name in meta if name.startswith(_RECORD))}


@cache
def known() -> tuple[int, ...]:
    """Return the numbers of the migrations that this release has, in order."""
    names = (entry.name for entry in files(__package__).joinpath("migrations").iterdir())
    return tuple(sorted(int(name.removesuffix(".sql")) for name in names if name.endswith(".sql")))


def _statements(number: int) -> list[str]:
    text = files(__package__).joinpath(f"migrations/{number:04}.sql").read_text(encoding="utf-8")
    code = "\n".join(line.partition("--")[0] for line in text.splitlines())
    return [statement for statement in code.split(";") if statement.strip()]
