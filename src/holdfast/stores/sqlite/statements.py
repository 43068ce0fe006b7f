"""SQL lives in files of its own; this reads a file's named statements."""

from __future__ import annotations

from importlib.resources import files


def statements(file: str) -> dict[str, str]:
    """Return the statements of ``file`` by name: each begins with a line ``-- name: x`` and runs to the next.

    Some are beginnings and ends, to be put together.
    """
    text = files(__package__).joinpath(file).read_text(encoding="utf-8")
    named: dict[str, str] = {}
    for part in text.split("-- name: ")[1:]:
        name, _, sql = part.partition("\n")
        named[name.strip()] = sql.strip() + "\n"
    return named
