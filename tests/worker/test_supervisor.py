"""What a supervisor does beside its processes; those are at work in tests/cli/test_supervised.py."""

import subprocess
import sys

import pytest

from holdfast.errors import UsageError
from holdfast.worker.supervisor import SupervisorOptions

FIRST_PROCESS = """
import ctypes, os, subprocess, sys
from holdfast.worker.supervisor import reap_others

ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: orphans come to this process, as to the first of a container
own = subprocess.Popen([sys.executable, "-c", "import sys; sys.exit(7)"])
os.waitid(os.P_PID, own.pid, os.WEXITED | os.WNOWAIT)
leaving = subprocess.run(["sh", "-c", "sleep 0 & echo $!"], stdout=subprocess.PIPE, text=True)
orphan = int(leaving.stdout)
os.waitid(os.P_PID, orphan, os.WEXITED | os.WNOWAIT)
reap_others([own.pid])
left = own.poll()
reap_others([])
try:
    os.waitpid(orphan, 0)
    print("the orphan is still there")
except ChildProcessError:
    print("reaped; its own said", left)
"""


@pytest.mark.slow
def test_the_first_process_of_a_container_reaps_what_others_left_and_none_of_its_own():
    said = subprocess.run([sys.executable, "-c", FIRST_PROCESS], capture_output=True, text=True, check=True).stdout

    assert said == "reaped; its own said 7\n"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"processes": 0}, "processes of a supervisor is 1 or more, not 0"),
        ({"max_memory": 0}, "max_memory of a supervisor is 1 or more, not 0"),
        ({"stall_limit": 0}, "stall_limit of a supervisor is more than 0 seconds, not 0"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong, said):
    with pytest.raises(UsageError, match=said):
        SupervisorOptions(**wrong)
