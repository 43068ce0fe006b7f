"""Clocks that are moved move together, tell who listens, and are shared."""

import gc
import subprocess
import sys

import pytest

from holdfast.clock import SYSTEM
from holdfast.testing import MovableClock, SharedClock


def test_a_ticking_clock_begins_at_the_present():
    clock = MovableClock()

    assert clock.wall() == pytest.approx(SYSTEM.wall(), abs=1000)
    assert clock.boot() == pytest.approx(SYSTEM.boot(), abs=1000)


@pytest.mark.parametrize("ticking", [True, False])
def test_a_clock_begins_at_a_given_instant(ticking):
    clock = MovableClock(1_000_000, ticking=ticking)

    assert clock.wall() == pytest.approx(1_000_000, abs=1000)


def test_moving_moves_both_clocks():
    clock = MovableClock(ticking=False)
    wall, boot = clock.wall(), clock.boot()

    clock.move(12.345)

    assert (clock.wall() - wall, clock.boot() - boot) == (12345, 12345)


def test_setting_the_wall_clock_leaves_the_boot_clock():
    clock = MovableClock(ticking=False)
    wall, boot = clock.wall(), clock.boot()

    clock.set_wall(-3600)

    assert (clock.wall() - wall, clock.boot() - boot) == (-3_600_000, 0)


def test_who_listens_is_told_after_the_move():
    clock, seen = MovableClock(0, ticking=False), []
    clock.on_move(lambda: seen.append(clock.wall()))

    clock.move(1)
    clock.set_wall(2)

    assert seen == [1000, 3000]


def test_who_listened_and_has_gone_is_not_told():
    class Listener:
        def note(self):
            seen.append(self)

    clock, seen, listener = MovableClock(0, ticking=False), [], Listener()
    clock.on_move(listener.note)
    clock.move(1)
    assert len(seen) == 1

    seen.clear()
    del listener
    gc.collect()
    clock.move(1)

    assert seen == []


@pytest.mark.parametrize("ticking", [True, False])
def test_a_shared_clock_is_moved_for_all(tmp_path, ticking):
    mine, theirs = (SharedClock(tmp_path / "clock", ticking=ticking) for _ in range(2))

    mine.move(3600)
    mine.set_wall(60)

    assert theirs.wall() == pytest.approx(mine.wall(), abs=1000)
    assert theirs.boot() - SYSTEM.boot() == pytest.approx(3_600_000, abs=60_000)


def test_a_shared_clock_reaches_other_processes(tmp_path):
    clock = SharedClock(tmp_path / "clock", ticking=False)
    clock.move(3600)
    program = "import sys, pathlib; from holdfast.testing import SharedClock as S; "
    program += "sys.stdout.write(str(S(pathlib.Path(sys.argv[1]), ticking=False).wall()))"

    told = subprocess.run([sys.executable, "-c", program, clock.path], capture_output=True, text=True, check=True)

    assert int(told.stdout) == clock.wall()
