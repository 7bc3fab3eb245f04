"""The paper's tables: what they print, and what theorems say about it."""

import dataclasses

import jax.numpy as jnp
import pytest

import cgru_jax as cgru

from . import problems

CASES = [name for name in cgru.ATLAS if cgru.ATLAS[name].figure.startswith("9")]


def test_there_are_eleven_figures_and_thirty_six_cases():
    assert len(cgru.ATLAS) == 47
    assert len(CASES) == 36
    assert {cgru.ATLAS[name].figure_page for name in CASES} == {13, 14, 15}


def test_printed_counts_add_up_to_the_printed_numbers_of_fixed_points():
    # The second column of Table 2, which is printed apart from the kinds.
    totals = [
        2,
        3,
        3,
        *[4] * 5,
        *[5] * 6,
        *[6] * 7,
        *[7] * 6,
        *[8] * 3,
        9,
        9,
        9,
        10,
        10,
        11,
    ]
    assert [cgru.ATLAS[name].printed.total for name in CASES] == totals


def test_columns_of_table_two_hold_as_many_entries_as_the_paper_prints():
    columns = zip(*(cgru.ATLAS[name].printed for name in CASES), strict=True)
    assert [sum(n > 0 for n in column) for column in columns] == [35, 14, 30, 18, 11, 3]


def test_exactly_two_rows_break_poincare_hopf():
    broken = {name for name in CASES if cgru.ATLAS[name].printed.index_sum != 1}
    assert broken == {"xi", "xxiv"}
    assert all("index sum" in cgru.ATLAS[name].note for name in broken)


@pytest.mark.parametrize(("figure", "case"), [("3a", "xxxvi"), ("3b", "iv"), ("3c", "vi")])
def test_a_figure_that_shows_a_case_has_its_parameters_and_counts(figure, case):
    shown, listed = cgru.ATLAS[figure], cgru.ATLAS[case]
    for name in ("U_h", "U_r", "b_h", "b_r", "printed"):
        assert getattr(shown, name) == getattr(listed, name)


def test_figure_five_is_three_times_a_rotation_to_the_printed_digits():
    # U_h = 3 R(θ), eq. (8), with θ = π/3, π/5 and (panel c) arctan(0.4471 / 2.9665).
    for name, angle in (("5a", jnp.pi / 3), ("5b", jnp.pi / 5)):
        U_h = cgru.ATLAS[name].cell().U_h
        exact = 3 * jnp.array(
            [[jnp.cos(angle), -jnp.sin(angle)], [jnp.sin(angle), jnp.cos(angle)]]
        )
        # 2.598 has three decimals, and 2.4271 is 3 cos(π/5) = 2.42705…
        assert jnp.allclose(U_h, exact, atol=1e-4)
    assert jnp.allclose(jnp.linalg.norm(cgru.ATLAS["5c"].cell().U_h[0]), 3, atol=1e-4)


def test_cells_are_laid_out_by_rows_with_an_idle_update_gate():
    cell = cgru.ATLAS["xxvii"].cell()
    # Table 3, row xxvii: Ur11, Ur12, Ur21, Ur22 = 6, 3, 9, 6; bh = 0.62, 0.373.
    assert jnp.array_equal(cell.U_r, jnp.array([[6.0, 3], [9, 6]]))
    assert jnp.array_equal(cell.b_h, jnp.array([0.62, 0.373]))
    assert not cell.U_z.any()
    assert not cell.b_z.any()


def test_nobody_can_change_the_paper():
    with pytest.raises(dataclasses.FrozenInstanceError):
        cgru.ATLAS["i"].note = ""
    with pytest.raises(TypeError):
        cgru.ATLAS["i"] = None


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return problems.experiment("atlas").main(tmp_path_factory.mktemp("atlas"), "quick")


def test_equilibria_of_every_row_obey_poincare_hopf(report):
    assert {row["index_sum"] for row in report["rows"]} == {1.0}


@pytest.mark.parametrize(
    ("name", "sinks", "saddles", "sources"),
    [
        ("2", 4, 4, 1),
        ("3a", 5, 5, 1),
        ("ix", 2, 2, 1),
        ("xxiii", 2, 3, 2),
        ("xxiv", 4, 3, 0),
    ],
)
def test_rows_without_collisions_have_their_signature(
    report, name, sinks, saddles, sources
):
    (row,) = (row for row in report["rows"] if row["name"] == name)
    kinds = ("sink", "saddle", "source")
    assert [row["found"].get(k, 0) for k in kinds] == [sinks, saddles, sources]


def test_a_degenerate_origin_is_reported_in_the_rows_that_have_one(report):
    # The Jacobian vanishes at the origin of iv, v and xviii, and in figures 3b, 4a, 4b.
    by_name = {row["name"]: row for row in report["rows"]}
    for name in ("iv", "v", "xviii", "3b", "4a", "4b"):
        row = by_name[name]
        at = [
            k
            for p, k in zip(row["points"], row["kinds"], strict=True)
            if abs(p).max() < 1e-6
        ]
        assert at == ["codimension_two"]
    assert by_name["iv"]["found"]["saddle_node_first"] == 2


def test_a_row_that_breaks_poincare_hopf_never_agrees(report):
    verdicts = {row["name"]: row["verdict"] for row in report["rows"]}
    assert verdicts["xi"] == verdicts["xxiv"] == "index"
    assert verdicts["xxxiv"] == "differs"
    assert report["xxxiv_with_U_h_doubled"]["verdict"] == "beside"
    listed = report["verdicts"]
    assert sum(map(len, listed.values())) == 36


def test_collisions_that_decimals_miss_come_with_evidence(report):
    for row in report["rows"]:
        if row["verdict"] == "beside":
            missed = [item["speed"] for item in row["evidence"]]
            assert len(missed) > 0
            assert max(missed) <= 0.0025  # half a unit in the second decimal, halved by z
