"""The machine under the figures: what it is, a disk to write on, and the commit that is measured."""

import os
import platform
import sqlite3
import subprocess
import tempfile
from pathlib import Path

from benchmarks.envs import ROOT

IN_MEMORY = {"tmpfs", "ramfs"}


def describe(scratch: Path) -> dict[str, object]:
    """Machine and versions, without names of hosts or places."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "filesystem": filesystem(scratch),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def filesystem(place: Path) -> str:
    """The type of the file system that holds `place`, or "unknown" where the system does not tell."""
    try:
        lines = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return "unknown"
    types = {Path(mount): kind for _, mount, kind, *_ in (line.split() for line in lines)}
    place = place.resolve()
    return next((types[parent] for parent in (place, *place.parents) if parent in types), "unknown")


def scratch() -> Path:
    """A directory on a real disk: the system's temporary one, or one in the tree when that lives in memory."""
    temporary = Path(tempfile.gettempdir())
    if filesystem(temporary) not in IN_MEMORY | {"unknown"}:
        return temporary
    cache = ROOT / "benchmarks" / ".cache"
    cache.mkdir(exist_ok=True)
    return cache


def commit() -> dict[str, object]:
    """The commit id, and whether tracked files outside the results differ from it."""
    head = git("rev-parse", "HEAD")
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results")
    return {"commit": head or None, "changed": bool(changed)}


def git(*arguments: str) -> str:
    """What git says, or nothing where there is no repository or no git."""
    try:
        done = subprocess.run(["git", *arguments], check=False, cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
