"""Real file systems on loop devices, whose power is cut by the kernel: after ``cut`` nothing more reaches the image.

The shutdown request of ext4 and XFS (``FS_IOC_GOINGDOWN``) stops a mounted file system at once, with what was in
memory lost: 0 writes everything out first, 1 only its journal, 2 nothing. It is as near to a power cut as a machine
that goes on running can come; what a disk's own cache would lose, it does not lose.
"""

import ctypes
import fcntl
import os
import random
import shutil
import struct
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
KINDS = ("ext4", "xfs")
GOING_DOWN = 0x8004587D
IMAGE_BYTES = 320 << 20
FLAGS = (0, 1, 2)
WRITE_OUT = 1 | 2 | 4  # SYNC_FILE_RANGE_WAIT_BEFORE, _WRITE and _WAIT_AFTER
LOOSE_PAGES = 32
_libc = ctypes.CDLL(None, use_errno=True)


class Volume:
    """A file system of its own in one file, mounted at ``folder``. Its process should have a mount namespace alone."""

    def __init__(self, kind: str, place: Path) -> None:
        self.kind, self.folder, self._image = kind, place / kind, place / f"{kind}.img"
        self.folder.mkdir()
        with self._image.open("wb") as file:
            file.truncate(IMAGE_BYTES)
        run(f"mkfs.{kind}", "-q", self._image)

    def mount(self) -> None:
        """Mount it; what a cut left unfinished, its journal finishes or undoes."""
        run("mount", "-o", "loop", self._image, self.folder)

    def cut(self, flag: int) -> None:
        """Cut its power."""
        fd = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, GOING_DOWN, struct.pack("I", flag))
        finally:
            os.close(fd)

    def unmount(self) -> None:
        """Unmount it; fails while anything in it is open."""
        run("umount", self.folder)


def lacking(kind: str, place: Path) -> str | None:
    """Return what this machine lacks for such volumes; None if nothing."""
    if lack := mounting_lacks():
        return lack
    if shutil.which(f"mkfs.{kind}") is None:
        return f"mkfs.{kind} is not installed"
    trial = subprocess.run(
        [*ALONE, sys.executable, "-c", TRIAL, kind, place], cwd=ROOT, capture_output=True, text=True, check=False
    )
    shutil.rmtree(place / "trial", ignore_errors=True)
    return None if trial.returncode == 0 else trial.stderr.strip().rpartition("\n")[2]


def mounting_lacks() -> str | None:
    """Return what this machine lacks for a program to mount what it likes; None if nothing."""
    if os.geteuid() != 0:
        return "mounting needs root"
    if shutil.which("unshare") is None:
        return "unshare is not installed"
    trial = [*ALONE, "sh", "-c", "mount -t tmpfs tmpfs /tmp"]
    done = subprocess.run(trial, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"mounting is refused: {done.stderr.strip()}"


TRIAL = """
import sys
from pathlib import Path
from tests.disk.volumes import Volume
place = Path(sys.argv[2]) / "trial"
place.mkdir()
volume = Volume(sys.argv[1], place)
volume.mount()
volume.cut(2)
volume.unmount()
"""
ALONE = ["unshare", "--mount", "--propagation", "private"]
"""What a command is started with so that its mounts end with it, however it ends."""


def write_out(path: Path, draw: random.Random) -> None:
    """Let the kernel write one page of a file out, as it may whenever it likes."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        pages = os.fstat(fd).st_size // 4096 + 1
        page = max(0, pages - 1 - draw.randrange(LOOSE_PAGES))
        _libc.sync_file_range(fd, ctypes.c_int64(page * 4096), ctypes.c_int64(4096), WRITE_OUT)
    finally:
        os.close(fd)


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
