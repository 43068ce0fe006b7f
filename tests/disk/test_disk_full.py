"""A disk that fills up, and a file that may not grow: what was acknowledged is kept, appends are refused, reads go on,
and appends go on by themselves when there is room.
"""

import pytest

from tests.disk.layers import cannot, share
from tests.disk.programs import judged
from tests.disk.volumes import ALONE, mounting_lacks

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]


@share(10, 500)
def test_a_full_disk_refuses_appends_and_loses_nothing(cases, tmp_path, record_property):
    if lack := mounting_lacks():
        cannot("a small disk that fills up", lack, record_property)
    judged(["tests.disk.filler", "tmpfs"], tmp_path, cases, record_property, before=ALONE)


@share(10, 500)
def test_a_file_that_may_not_grow_refuses_appends_and_loses_nothing(cases, tmp_path, record_property):
    judged(["tests.disk.filler", "limit"], tmp_path, cases, record_property)
