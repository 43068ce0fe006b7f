"""How a dead process is spoken of, and whether the kernel killed it for memory: with real kills where this machine
lets a test limit memory, with the kernel's own files copied for every kind of machine.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.worker.deaths import OutOfMemory, died, killed

MEMORY = Path("/sys/fs/cgroup/memory")
EATER = "block = bytearray(300_000_000)"
"""What is killed within a group limited to 100 MB."""
WATCHER = """
import subprocess, sys
from pathlib import Path
from holdfast.worker.deaths import OutOfMemory, died
Path(sys.argv[1], "cgroup.procs").write_text("0")
watch = OutOfMemory()
def end(*command):
    code = subprocess.run(command).returncode
    print(died(code, out_of_memory=code < 0 and watch.has_killed()))
end(sys.executable, "-c", "import os; os.kill(os.getpid(), 9)")
end(sys.executable, "-c", sys.argv[2])
end(sys.executable, "-c", "import os; os.kill(os.getpid(), 9)")
"""
MOUNTS = {
    "v2": "31 23 0:27 / /sys/fs/cgroup rw,nosuid,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate",
    "v1": "36 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:15 - cgroup cgroup rw,memory",
    "v1 of a container": "36 31 0:32 /docker/abc /sys/fs/cgroup/memory ro,relatime - cgroup cgroup rw,memory",
    "hybrid": "35 31 0:31 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n"
    "36 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:15 - cgroup cgroup rw,memory",
}
GROUPS = {
    "v2": "0::/system.slice/shop.service",
    "v1": "5:cpu,cpuacct:/\n4:memory:/system.slice/shop.service\n0::/",
    "v1 of a container": "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n0::/",
    "hybrid": "4:memory:/shop\n1:name=systemd:/shop\n0::/shop",
}
COUNTERS = {
    "v2": "sys/fs/cgroup/system.slice/shop.service/memory.events",
    "v1": "sys/fs/cgroup/memory/system.slice/shop.service/memory.oom_control",
    "v1 of a container": "sys/fs/cgroup/memory/memory.oom_control",
    "hybrid": "sys/fs/cgroup/memory/shop/memory.oom_control",
}


def write(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (3, "worker died: exit code 3"),
        (0, "worker died: exit code 0"),
        (-signal.SIGSEGV, "worker died: SIGSEGV"),
        (-signal.SIGKILL, "worker died: SIGKILL"),
        (-(signal.SIGRTMIN + 1), f"worker died: signal {signal.SIGRTMIN + 1}"),
    ],
)
def test_a_death_is_told_by_exit_code_or_signal(code, words):
    assert died(code) == words


def test_a_death_for_memory_and_one_by_the_supervisor_say_so():
    assert died(-9, out_of_memory=True) == "worker died: SIGKILL (out of memory)"
    assert killed("stalled") == "worker died: killed, stalled"


@pytest.mark.parametrize("machine", MOUNTS)
def test_the_count_of_the_own_group_is_found_and_told_once(tmp_path, machine):
    write(tmp_path / "proc/self/mountinfo", f"22 1 8:1 / / rw - ext4 /dev/root rw\n{MOUNTS[machine]}\n")
    write(tmp_path / "proc/self/cgroup", f"{GROUPS[machine]}\n")
    write(tmp_path / "proc/vmstat", "oom_kill 70\n")
    counter = tmp_path / COUNTERS[machine]
    write(counter, "low 0\nhigh 0\nmax 5\noom 1\noom_kill 2\n")
    watch = OutOfMemory(tmp_path)
    assert not watch.has_killed()

    write(tmp_path / "proc/vmstat", "oom_kill 71\n")  # somebody else's
    write(counter, "low 0\nhigh 0\nmax 9\noom 2\noom_kill 3\n")

    assert [watch.has_killed(), watch.has_killed()] == [True, False]


def test_without_a_group_the_machine_s_count_is_taken(tmp_path):
    write(tmp_path / "proc/vmstat", "nr_free_pages 1\noom_kill 70\n")
    watch = OutOfMemory(tmp_path)

    write(tmp_path / "proc/vmstat", "nr_free_pages 1\noom_kill 71\n")

    assert watch.has_killed()


def test_where_the_kernel_counts_nothing_nothing_is_told(tmp_path):
    assert not OutOfMemory(tmp_path).has_killed()


@pytest.fixture
def limited():
    """A control group of 100 MB, None where this machine lets nobody make one."""
    group = MEMORY / f"holdfast-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        yield None
        return
    (group / "memory.limit_in_bytes").write_text("100000000")
    with suppress(OSError):  # no swap here
        (group / "memory.memsw.limit_in_bytes").write_text("100000000")
    yield group
    group.rmdir()


@pytest.mark.slow
def test_a_process_killed_by_the_kernel_for_memory_is_told_from_one_killed_by_hand(limited):
    if limited is None:
        assert not OutOfMemory().has_killed()  # it reads what this machine has
        return

    said = subprocess.run(
        [sys.executable, "-c", WATCHER, limited, EATER], capture_output=True, text=True, check=True
    ).stdout.splitlines()

    assert said == [
        "worker died: SIGKILL",
        "worker died: SIGKILL (out of memory)",
        "worker died: SIGKILL",
    ]
