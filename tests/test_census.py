"""The new atlas: what stands in the gallery is so, by two programs."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from . import flint_proof, problems

GALLERY = json.loads(
    (Path(__file__).parents[1] / "experiments" / "signatures.json").read_text()
)
NOTHING = {"U_z": [[0, 0], [0, 0]], "b_z": [0, 0]}


def test_the_second_program_counts_what_is_known():
    eye = np.eye(2)
    # Two independent units, and figure 3a of the paper.
    assert flint_proof.signature(3 * eye, 0 * eye, [0, 0], [0, 0], **NOTHING) == [4, 4, 1]
    eleven = flint_proof.signature(2 * eye, [[5, 8], [8, 5]], [0, 0], [5, 5], **NOTHING)
    assert eleven == [5, 5, 1]
    # Two units at their cusps: nothing can be proved with balls.
    assert flint_proof.signature(2 * eye, 0 * eye, [0, 0], [0, 0], **NOTHING) == "undecided"


@pytest.mark.parametrize(
    "one", GALLERY, ids=lambda one: "-".join(map(str, one["signature"]))
)
def test_a_network_of_the_gallery_has_its_signature(one):
    arrays = NOTHING | {name: a for name, a in one.items() if name != "signature"}
    assert flint_proof.signature(**arrays) == one["signature"]
    sinks, saddles, sources = one["signature"]
    assert sinks + sources - saddles == 1


def test_the_library_proves_the_gallery_too_and_the_conjecture_is_false(tmp_path):
    numbers = problems.experiment("most_equilibria").main(tmp_path, "quick")
    for one in numbers["gallery"]:
        assert one["complete"]
        assert list(one["proved"]) == one["signature"]
        assert one["margin"] > 0.01
    verdicts = {claim["claim"]: claim["agrees"] for claim in numbers["claims"]}
    assert verdicts["eleven equilibria are the most"] is False
    assert max(sum(one["signature"]) for one in numbers["gallery"]) >= 15


def test_random_networks_obey_poincare_and_hopf(tmp_path):
    numbers = problems.experiment("census").main(tmp_path, "quick")
    verdicts = {claim["claim"]: claim["agrees"] for claim in numbers["claims"]}
    assert verdicts["the indices of a network sum to +1"] is True
    assert (tmp_path / "frequencies.png").exists()


def test_six_slow_points_stand_beside_one_equilibrium():
    U, R, b, c = map(np.array, problems.experiment("slow_points").SIX)
    assert flint_proof.signature(U, R, b, c, **NOTHING) == [1, 0, 0]

    def speed(h):
        r = 1 / (1 + np.exp(-(R @ h + c)))
        return np.linalg.norm(np.tanh(U @ (r * h) + b) - h) / 2

    # Valleys are narrow across and flat along: a fine grid, then a search without slopes.
    axis = np.linspace(-1, 1, 161)
    grid = np.array([[speed(np.array([x, y])) for y in axis] for x in axis])
    inner = grid[1:-1, 1:-1]
    around = [
        grid[1 + i : 160 + i, 1 + j : 160 + j] for i in (-1, 0, 1) for j in (-1, 0, 1)
    ]
    low = (inner == np.min(around, axis=0)) & (inner < 0.05)
    ends = []
    for i, j in np.argwhere(low):
        start = np.array([axis[i + 1], axis[j + 1]])
        found = scipy.optimize.minimize(
            speed, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}
        )
        if all(np.abs(found.x - x).max() > 1e-3 for x, _ in ends):
            ends.append((found.x, found.fun))
    speeds = sorted(s for _, s in ends if s < 1e-3)
    assert len([s for s in speeds if s > 4e-4]) == 6
    assert all(s < 1e-9 for s in speeds[:-6])  # the equilibrium, if the grid shows it


def test_families_of_the_search_are_their_own_mirror_images():
    search = problems.experiment("most_equilibria")
    p = np.random.default_rng(0).normal(size=18) + 0.3
    h = jnp.array([0.3, -0.6])
    for family, mirror in (("exchange", h[::-1]), ("exchange and turn", -h[::-1])):
        cell = search.cell_of(search.project(p[None], family)[0])
        sign = 1 if family == "exchange" else -1
        # The field of the image is the image of the field, to rounding.
        assert np.allclose(cell(mirror), sign * cell(h)[::-1], atol=1e-15)


def test_a_network_that_steps_over_a_fold_gains_two_equilibria():
    # x = tanh(a x + b), beside y = 0.2: three equilibria where |b| < a h − artanh h with
    # h = √(1 − 1/a), else one. From 1.5 times that a step goes as far again at most.
    search = problems.experiment("most_equilibria")
    a = 2.3
    h = np.sqrt(1 - 1 / a)
    edge = a * h - np.arctanh(h)
    p = np.zeros((40, 18))
    p[:, 0], p[:, 8], p[:, 9] = 2 * a, 1.5 * edge, np.arctanh(0.2)
    moved = search.across(np.random.default_rng(0), p, "any")
    assert np.array_equal(np.delete(moved, [8, 9], axis=1), np.delete(p, [8, 9], axis=1))
    # A network stays where it is if no line between its random points crosses that fold.
    stepped = moved[moved[:, 8] != p[:, 8], 8]
    assert len(stepped) > 30
    assert np.all((stepped > 0.5 * edge) & (stepped < edge))


@pytest.mark.slow
def test_a_search_from_a_fresh_seed_beats_the_paper():
    found = problems.experiment("most_equilibria").climb(0, 12_000)
    assert found["history"]["most"][-1] >= 13
    assert found["history"]["cpu_seconds"][-1] < 600
