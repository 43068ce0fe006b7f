"""Power cut by the kernel, on ext4 and XFS, under threads that append: see ``cutter`` and ``volumes``."""

import pytest

from tests.disk.layers import cannot, share
from tests.disk.programs import judged
from tests.disk.volumes import ALONE, KINDS, lacking

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]


@pytest.mark.parametrize("kind", KINDS)
@share(50, 5_000)
def test_what_was_acknowledged_survives_a_power_cut_of_a_real_file_system(kind, cases, tmp_path, record_property):
    if lack := lacking(kind, tmp_path):
        cannot(f"power cuts on {kind}", lack, record_property)
    judged(["tests.disk.cutter", kind], tmp_path, cases, record_property, before=ALONE)
