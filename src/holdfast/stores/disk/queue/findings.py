"""What an operator should know of the queues' journal: where it is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from holdfast.capabilities import Finding
from holdfast.errors import BackendError
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.verify import verify

READ_MOST = 1 << 30
"""Bytes that an examination reads, at the most: somebody waits for it."""


def damage_findings(directory: Path, files: Files) -> Iterator[Finding]:
    """Read the journal of the queues in ``directory``, and yield where it is damaged. Its owner may be at work."""
    journal = directory / "journal"
    size = sum(found[2] for name in files.list(journal) if (found := files.identity(journal / name)) is not None)
    if size > READ_MOST:
        yield Finding("ok", f"{journal} has {size >> 20} MiB, which are not read through here")
        return
    try:
        seen = verify(journal, files)
    except (OSError, BackendError) as error:
        yield Finding("error", f"{journal} cannot be read", str(error), "see to the disk, or restore it from a copy")
        return
    for path, damage in ((one.path, one.damage) for one in seen.damages):
        yield Finding(
            "error", f"{path}: bytes {damage.begin} to {damage.end} (not included) are damaged",
            "a disk failed, or something but Holdfast wrote there: jobs whose bodies are lost become dead letters",
            "copy the directory, and work the queues off; when they cannot be opened, restore them from a backup",
        )  # fmt: skip
    if not seen.damages:
        yield Finding("ok", f"{journal}: {seen.messages} messages read, none damaged")
