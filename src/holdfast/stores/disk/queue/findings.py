"""What an operator should know of the files of the queues: where they are damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from holdfast.capabilities import Finding
from holdfast.errors import BackendError
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.queue.snapshots import Snapshots
from holdfast.stores.disk.verify import verify


def damage_findings(directory: Path, files: Files) -> Iterator[Finding]:
    """Read every byte of the queues in ``directory``, and yield what is damaged. Their owner may be at work."""
    journal = directory / "journal"
    try:
        damaged = Snapshots(directory, files).damaged()
        seen = verify(journal, files)
    except (OSError, BackendError) as error:
        yield Finding("error", f"{journal} cannot be read", str(error), "see to the disk, or restore it from a copy")
        return
    for snapshot in damaged:
        yield Finding(
            "warn", f"{snapshot} is damaged",
            "a disk failed, or something but Holdfast wrote there: the queues are opened with the snapshot before it",
            "see to the disk; the next snapshots take its place",
        )  # fmt: skip
    for path, damage in ((one.path, one.damage) for one in seen.damages):
        yield Finding(
            "error", f"{path}: bytes {damage.begin} to {damage.end} (not included) are damaged",
            "a disk failed, or something but Holdfast wrote there: jobs whose bodies are lost become dead letters",
            "copy the directory, and work the queues off; when they cannot be opened, restore them from a backup",
        )  # fmt: skip
    if not seen.damages:
        yield Finding("ok", f"{journal}: {seen.messages} messages read, none damaged")
