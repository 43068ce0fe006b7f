"""Brings a file's tables to the version this release writes; runs by itself whenever a file is opened for writing."""

from __future__ import annotations

from importlib.resources import files

from holdfast.errors import NotSupported
from holdfast.stores.sqlite.connection import Connection

VERSION = 1


def migrate(connection: Connection) -> None:
    """Carry out the migrations that the file lacks, each once, whichever process comes first.

    ``NotSupported`` when a newer release has migrated the file.
    """
    if version(connection) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        have = version(connection)
        if have > VERSION:
            raise NotSupported(f"the file has tables of version {have}, this release knows {VERSION}; upgrade Holdfast")
        for number in range(have + 1, VERSION + 1):
            for statement in _statements(number):
                connection.execute(statement)
            connection.execute("INSERT OR REPLACE INTO holdfast_meta VALUES ('version', ?)", (number,))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def version(connection: Connection) -> int:
    """Return the version of the file's tables, 0 when it has none."""
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'holdfast_meta'"):
        return 0
    rows = connection.execute("SELECT value FROM holdfast_meta WHERE name = 'version'")
    return int(rows[0][0]) if rows else 0


def _statements(number: int) -> list[str]:
    text = files(__package__).joinpath(f"migrations/{number:04}.sql").read_text(encoding="utf-8")
    code = "\n".join(line.partition("--")[0] for line in text.splitlines())
    return [statement for statement in code.split(";") if statement.strip()]
