"""The members of a group: each is a file that it has locked for as long as it lives."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

import msgspec

from holdfast.stores.disk.files import Files
from holdfast.stores.disk.logs.directory import opened, write_all
from holdfast.stores.disk.logs.groups import GroupDirectory

MOST_TEXT = 4096


class Registered(msgspec.Struct, frozen=True):
    """A member's own file, locked. The lock ends with ``fd``."""

    path: Path
    fd: int


class Roll(msgspec.Struct, frozen=True):
    """Who is there: the holder of each live member by the member's id, and whether dead ones were found."""

    live: dict[str, str]
    dead: bool = False


def register(group: GroupDirectory, holder: str) -> Registered:
    """Make the file of a new live member; ``FileNotFoundError`` when the group is gone."""
    files, id_ = group.files, secrets.token_hex(8)
    members = group.path / "members"
    made = members / f".{id_}"
    files.make_directory(members)  # a copy of the data may lack what was empty
    fd = files.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        files.lock(fd)
        write_all(files, fd, holder.encode("utf-8", "surrogatepass"))
        files.rename(made, members / id_)  # under its name it was never unlocked
    except BaseException:
        files.close(fd)
        raise
    return Registered(members / id_, fd)


def unregister(files: Files, member: Registered) -> None:
    """Remove the file of a member that leaves."""
    files.remove(member.path)
    files.close(member.fd)


def roll(group: GroupDirectory) -> Roll:
    """Return who lives, and remove the files of those who do not."""
    live, dead = dict[str, str](), False
    members = group.path / "members"
    for id_ in group.files.list(members):
        if id_.startswith("."):
            continue
        with suppress(FileNotFoundError):
            holder = _living(group.files, members / id_)
            if holder is not None:
                live[id_] = holder
            else:
                dead = True
                group.files.remove(members / id_)
    return Roll(live, dead)


def _living(files: Files, path: Path) -> str | None:
    """Return the holder of a member; None when it is dead."""
    with opened(files, path, os.O_RDWR) as fd:
        return files.read(fd, MOST_TEXT, 0).decode("utf-8", "surrogatepass") if files.locked(fd) else None
