"""The repair of the atlas, small, against SciPy's minimisation under constraints."""

import json

import numpy as np
import pytest
import scipy.optimize

import cgru_jax as cgru

from . import problems


@pytest.fixture(scope="module")
def repair():
    module = problems.experiment("atlas_repair")
    module.QUICK = ("vi", "xx")  # two that need a repair
    return module


@pytest.fixture(scope="module")
def done(repair, tmp_path_factory):
    out = tmp_path_factory.mktemp("atlas_repair")
    return repair.main(out, "quick"), out


def test_every_row_is_proved_at_its_printed_counts(done):
    numbers, out = done
    for row in numbers["rows"]:
        assert row["certified"]
        assert row["one_pair"]
        assert row["verdict"] == "beside"
        sinks, sources, saddles, first, second, *rest = row["counts"]
        printed = row["printed"]
        assert (sinks, sources, saddles) == printed[:3]
        assert first + second == printed.collisions
        assert not any(rest)
    for figure in numbers["figures"]:
        assert figure["caption"]
        assert json.loads((out / figure["file"]).with_suffix(".json").read_text())


def test_no_smaller_change_is_found_by_scipy(repair, done):
    for row in done[0]["rows"]:
        printed = repair.vector(cgru.ATLAS[row["name"]])
        start = np.concatenate([row["points"].ravel(), printed])

        def constraints(u):
            return np.asarray(repair.equations(u[:2].reshape(1, 2), u[2:]))

        def slopes(u):
            h, p = repair.slopes(u[:2].reshape(1, 2), u[2:])
            return np.concatenate([np.asarray(h).reshape(3, 2), np.asarray(p)], axis=1)

        # In units of the answer, so that SciPy's tolerances mean something.
        unit = row["distance"]
        found = scipy.optimize.minimize(
            lambda u, printed=printed, unit=unit: np.sum(((u[2:] - printed) / unit) ** 2),
            start,
            jac=lambda u, printed=printed, unit=unit: np.concatenate(
                [np.zeros(2), 2 * (u[2:] - printed) / unit**2]
            ),
            constraints={"type": "eq", "fun": constraints, "jac": slopes},
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 300},
        )
        # The square is flat at a minimum: half of SLSQP's digits.
        assert abs(np.sqrt(found.fun) - 1) < 1e-4


def test_a_slip_is_one_character_or_one_swap(repair):
    printed = repair.vector(cgru.ATLAS["iii"])
    slips = list(repair.edits(printed))
    assert len({tuple(p) for p, _ in slips}) == len(slips)
    for p, what in slips:
        moved = np.flatnonzero(p != printed)
        assert len(moved) == 1 or sorted(p) == sorted(printed), what
    assert any(what == "U_r12: 12 → 2" for _, what in slips)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("-0.5", {0.5, -0.8, -9.5, -0.0, -0.57, -5.0, -0.05}), ("12", {2.0, 1.0, 12.4, 72.0})],
)
def test_slips_of_one_number(repair, text, wanted):
    assert wanted <= set(repair.slipped(text))
