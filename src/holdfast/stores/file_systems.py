"""What kind of file system a path lies on, and which kinds stores on local disks cannot use."""

from __future__ import annotations

from pathlib import Path

NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs"})


def file_system(path: Path) -> str:
    """Return the type of the file system that ``path`` lies on, empty where the platform does not tell."""
    try:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return ""
    place, best, kind = path.resolve(), "", ""
    for mount in mounts:
        _, point, fs_type, *_ = mount.split(" ")
        if len(point) >= len(best) and place.is_relative_to(point.replace("\\040", " ")):
            best, kind = point, fs_type
    return kind
