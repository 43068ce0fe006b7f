"""What the generated parts of the pages share: tables, and docstrings as Markdown."""

import inspect
import re
from collections.abc import Iterable, Sequence
from typing import Any


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def code(text: object) -> str:
    """Return text as inline code."""
    return f"`{text}`"


def markdown(docstring: str | None) -> str:
    """Return a docstring as Markdown, one line a paragraph."""
    text = inspect.cleandoc(docstring or "")
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", text)
    text = re.sub(r"``(.+?)``", r"`\1`", text)
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def summary(thing: Any) -> str:
    """Return the first paragraph of a docstring on one line."""
    return markdown(thing.__doc__).partition("\n\n")[0]


def number(value: object) -> str:
    """Return a value as a reader writes it: sizes and lengths of time in the unit that suits them."""
    if value is None or isinstance(value, (bool, str, tuple)):
        return code(value) if not isinstance(value, str) else code(f'"{value}"')
    if isinstance(value, float):
        return f"{_length(value)}"
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else code(value)


def size(value: int) -> str:
    """Return a number of bytes in the unit that suits it."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if value >= unit and value % unit == 0:
            return f"{value // unit} {name}"
    return f"{value} bytes"


def _length(seconds: float) -> str:
    for unit, name in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= unit and seconds % unit == 0:
            many = f"{seconds / unit:g}"
            return f"{seconds:.0f} s ({many} {'day' if (many, name) == ('1', 'days') else name})"
    return f"{seconds:g} s"
