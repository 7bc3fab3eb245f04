"""The experiments on cycles, on maps and flows, on a slow line, small."""

import pytest

from . import problems


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rotation_cycle", "map_to_flow", "design_line"])
def test_every_claim_holds_and_every_figure_is_there(name, tmp_path):
    numbers = problems.experiment(name).main(tmp_path, "quick")
    assert [claim["claim"] for claim in numbers["claims"] if not claim["agrees"]] == []
    for figure in numbers["figures"]:
        assert (tmp_path / figure["file"]).stat().st_size > 10_000
