"""The simulated disk does what a real one does, and its power cuts lose what a real one may lose."""

import os
import random
from pathlib import Path

import pytest

from holdfast.stores.disk.files import Files
from tests.disk.crashes import PAGE, crashes
from tests.disk.simulated import Image, SimulatedDisk

ROOT = Path("/disk")
NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL


def test_every_method_is_simulated():
    real = {name for name in dir(Files) if not name.startswith("_")}

    assert real <= set(vars(SimulatedDisk))


@pytest.mark.parametrize("seed", range(50))
def test_it_does_what_a_real_disk_does(tmp_path, seed):
    told = [course(Files(), tmp_path, random.Random(seed)), course(SimulatedDisk(), ROOT, random.Random(seed))]

    assert told[0] == told[1]


def course(files, root, draw):
    """Do random things, and return what was answered."""
    folder, told, fds = root / "d", [], []
    files.make_directory(folder)
    for _ in range(60):
        name, at, size = folder / draw.choice("ab"), draw.randrange(50), draw.randrange(1, 50)
        flags = draw.choice([os.O_RDONLY, os.O_RDWR, os.O_RDWR | os.O_CREAT, NEW, os.O_RDWR | os.O_TRUNC])
        verb, fd = draw.randrange(11), draw.choice(fds) if fds else 10**6
        try:
            match verb:
                case 0 | 1:
                    fds.append(files.open(name, flags))
                case 2 | 3:
                    told.append(files.write(fd, [draw.randbytes(size), b"+"], at))
                case 4:
                    told.append((files.read(fd, size, at), files.size(fd)))
                case 5:
                    files.truncate(fd, at)
                case 6:
                    files.rename(name, folder / draw.choice("ab"))
                case 7:
                    files.remove(draw.choice([name, folder]))
                case 8:
                    told.append((files.list(folder), files.list(root / "none")))
                case 9:
                    told.append(files.lock(fd))
                case 10:
                    files.allocate(fd, size)
        except OSError as error:
            told.append(error.errno)
    for fd in fds:
        files.close(fd)
    return told


# -- power cuts ---------------------------------------------------------------------------------------------------


def cut(disk, most=60, seed=0):
    """Return the disks that a power cut after the last step may leave."""
    start = Image({}, frozenset({"/disk"}))
    last = len(disk.trace) - 1
    return [crash.image for crash in crashes(disk.trace, random.Random(seed), most, start, {}) if crash.at == last]


def written(disk, *pieces, synced=b"", named=True):
    fd = disk.open(ROOT / "f", NEW)
    if synced:
        disk.write(fd, [synced], 0)
        disk.sync(fd)
    if named:
        disk.sync_directory(ROOT)
    at = len(synced)
    for piece in pieces:
        disk.write(fd, [piece], at)
        at += len(piece)
    return fd


def test_what_was_synced_is_always_there():
    disk = SimulatedDisk()
    written(disk, b"loose" * 2000, synced=b"safe" * 1500)

    left = [image.files["/disk/f"] for image in cut(disk)]

    assert len(set(left)) > 20
    assert all(content.startswith(b"safe" * 1500) for content in left)


def test_lost_blocks_leave_a_shorter_file_zeros_or_old_bytes():
    disk = SimulatedDisk()
    written(disk, b"1" * PAGE, b"2" * PAGE, b"3" * PAGE)

    left = {image.files["/disk/f"] for image in cut(disk, 200)}

    assert {b"", b"1" * PAGE, b"1" * PAGE + b"2" * PAGE, b"1" * PAGE + b"2" * PAGE + b"3" * PAGE} <= left
    assert b"1" * PAGE + bytes(PAGE) + b"3" * PAGE in left
    assert any(content[PAGE : 2 * PAGE].strip(b"123\0") for content in left)


def test_what_was_written_over_may_be_as_it_was_before():
    disk = SimulatedDisk()
    fd = written(disk, synced=b"a" * PAGE)
    disk.write(fd, [b"b"], 0)
    disk.write(fd, [b"c"], 0)

    assert {image.files["/disk/f"][:1] for image in cut(disk)} == {b"a", b"b", b"c"}


def test_a_name_that_was_not_synced_may_be_gone_with_what_was_synced_in_it():
    disk = SimulatedDisk()
    written(disk, synced=b"safe", named=False)

    assert {image.files.get("/disk/f") for image in cut(disk)} == {None, b"safe"}


def test_a_rename_that_was_not_synced_may_not_have_been():
    disk = SimulatedDisk()
    written(disk, synced=b"old")
    disk.close(disk.open(ROOT / "g", NEW))
    disk.sync_directory(ROOT)
    disk.rename(ROOT / "f", ROOT / "g")

    assert {tuple(sorted(image.files.items())) for image in cut(disk)} == {
        (("/disk/f", b"old"), ("/disk/g", b"")),
        (("/disk/g", b"old"),),
    }


def test_a_directory_that_was_not_synced_takes_along_what_is_in_it():
    disk = SimulatedDisk()
    disk.make_directory(ROOT / "d")
    disk.close(disk.open(ROOT / "d" / "f", NEW))
    disk.sync_directory(ROOT / "d")

    assert {image.directories for image in cut(disk)} == {frozenset({"/disk"}), frozenset({"/disk", "/disk/d"})}
    assert all("/disk/d" in image.directories for image in cut(disk) if image.files)
