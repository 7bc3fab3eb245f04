"""Pictures: what is drawn is what the mathematics says is there."""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import cgru_jax as cgru
from cgru_jax import plot
from cgru_jax.plot import _portrait

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def portraits():
    """Three rows of the atlas, drawn: name to (system, axes, data)."""
    drawn = {}
    for name in ("3b", "xv", "ix"):
        system, ax = cgru.Flow(cgru.ATLAS[name].cell()), Figure().subplots()
        drawn[name] = system, ax, plot.phase_portrait(system, ax)
    return drawn


def vertical(lines, place):
    """How much of the line x = place the polylines cover, from end to end."""
    on_it = [line[:, 1] for line in lines if np.abs(line[:, 0] - place).max() < 0.01]
    return max((ys.max() - ys.min() for ys in on_it), default=0.0)


def test_the_field_vanishes_on_every_nullcline(portraits):
    system, _, data = portraits["ix"]
    for i, lines in enumerate(data["nullclines"]):
        points = np.concatenate(lines)
        values = jax.vmap(system.residual)(points)[:, i]
        # Linear interpolation on samples 0.0125 apart of a field that curves by about 1.
        assert np.abs(values).max() < 1e-3


def test_a_branch_that_only_touches_zero_is_drawn(portraits):
    # Case iv: ẋ = (tanh(2 x σ(−x)) − x)/2 is −x²/4 + … at x = 0, on both sides negative.
    _, _, data = portraits["3b"]
    assert vertical(data["nullclines"][0], 0.0) > 2.9
    assert vertical(data["nullclines"][0], -0.805) > 2.9


def test_a_triple_zero_is_one_branch(portraits):
    # Case xv: ẏ = (tanh y − y)/2 is small well away from y = 0, and vanishes there only.
    _, _, data = portraits["xv"]
    heights = np.concatenate([line[:, 1] for line in data["nullclines"][1]])
    assert np.abs(heights).max() < 1e-4


def test_speed_is_that_of_the_field(portraits):
    system, ax, data = portraits["ix"]
    i, j = 17, 201  # a row is a y, a column is an x
    there = system.residual(jnp.array([data["x"][j], data["y"][i]]))
    # Rounded to three decimals for the file.
    assert abs(data["log_speed"][i, j] - jnp.log10(jnp.linalg.norm(there))) < 6e-4
    assert ax.images[0].get_array().shape == (_portrait.RESOLUTION,) * 2


def test_trajectories_start_on_the_grid_of_the_paper_and_end_in_sinks(portraits):
    _, _, data = portraits["ix"]
    starts = data["trajectories"][:, 0]
    # Figure 9: 64 lines from the vertices of a square grid on [−1.5, 1.5]².
    assert len({tuple(start) for start in starts.tolist()}) == 64
    assert starts.min() == -1.5
    assert starts.max() == 1.5
    kinds = np.array(data["kinds"])
    sinks = data["points"][kinds == "sink"]
    ends = data["trajectories"][:, -1]
    distance = np.linalg.norm(ends[:, None] - sinks, axis=-1).min(axis=1)
    # All but those that begin beside the stable line of a saddle have arrived by t = 30.
    assert np.mean(distance < 1e-2) > 0.9


def test_every_kind_has_a_shape_and_a_colour_of_its_own(portraits):
    _, ax, data = portraits["3b"]
    drawn = {
        line.get_label(): (line.get_marker(), to_hex(line.get_color()))
        for line in ax.lines
        if line.get_marker() != "None"
    }
    assert set(drawn) == {"sink", "saddle-node of the first kind", "codimension-two point"}
    shapes, colours = zip(*drawn.values(), strict=True)
    assert len(set(shapes)) == len(set(colours)) == 3
    assert len(data["points"]) == 4


def test_portraits_of_one_kind_of_cell_compile_once(portraits):
    before = _portrait._sample._cached._cache_size()
    for name in ("ii", "xxxvi"):
        plot.phase_portrait(cgru.Flow(cgru.ATLAS[name].cell()), Figure().subplots())
    assert _portrait._sample._cached._cache_size() == before


def test_a_map_and_a_field_of_ones_own_can_be_drawn():
    # A rotation by a quarter turn about (0.3, −0.2), and its centre.
    centre = jnp.array([0.3, -0.2])

    def increment(h):
        x, y = h - centre
        return jnp.array([-y - x, x - y])

    data = plot.phase_portrait(cgru.Map(increment), Figure().subplots(), time=4)
    # Four quarter turns come back; five states; stored to four decimals.
    assert data["trajectories"].shape == (64, 5, 2)
    assert np.abs(data["trajectories"][:, 4] - data["trajectories"][:, 0]).max() < 2e-4
    assert np.allclose(data["points"], centre, atol=1e-12)


@pytest.mark.parametrize(
    ("b_h", "fills"),
    [
        (0.0, ["full", "none", "full"]),
        # The fold of h = tanh(2.3 h + b): h² = 1 − 1/2.3, b = artanh h − 2.3 h.
        ("fold", ["full", "right"]),
    ],
    ids=["bistable", "at the fold"],
)
def test_nodes_of_the_line_are_filled_on_the_side_that_is_attracted(b_h, fills):
    h = math.sqrt(1 - 1 / 2.3)
    b_h = math.atanh(h) - 2.3 * h if b_h == "fold" else b_h
    ax = Figure().subplots()
    data = plot.flow_line(cgru.Flow(cgru.gru(4.6, b_h=b_h)), ax)
    nodes = [line for line in ax.lines if line.get_marker() == "o"]
    nodes.sort(key=lambda line: line.get_xdata()[0])
    assert [node.get_fillstyle() for node in nodes] == fills
    assert len(data["points"]) == len(fills)


def test_arrows_of_the_line_point_where_the_flow_goes():
    ax = Figure().subplots()
    data = plot.flow_line(cgru.Flow(cgru.gru(4.6)), ax)
    assert len(ax.texts) == 4  # a stretch each between −1.5, three equilibria and 1.5
    for arrow in ax.texts:
        (head, _), (tail, _) = arrow.xy, arrow.xyann
        at = np.interp((head + tail) / 2, data["h"], data["increment"])
        assert (head - tail) * at > 0


def test_a_time_series_shows_every_component():
    trajectory = cgru.Trajectory(
        jnp.arange(4.0), jnp.arange(12.0).reshape(4, 3), cgru.RESULTS.successful
    )
    ax = Figure().subplots()
    data = plot.time_series(trajectory, ax)
    assert [line.get_label() for line in ax.lines] == ["h_1(t)", "h_2(t)", "h_3(t)"]
    assert np.array_equal(ax.lines[1].get_ydata(), data["states"][:, 1])


def test_a_legend_names_everything_once(portraits):
    figure = Figure(layout="constrained")
    for ax in figure.subplots(1, 2):
        ax.plot([0, 1], label="one")
        ax.plot([1, 0], label="two")
    plot.legend(figure)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one", "two"]


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda ax: plot.phase_portrait(cgru.Flow(cgru.gru(1.0)), ax), "dimension 1"),
        (lambda ax: plot.flow_line(cgru.Flow(cgru.gru(jnp.eye(2))), ax), "dimension 2"),
        (
            lambda ax: plot.phase_portrait(
                cgru.Flow(cgru.gru(jnp.eye(2))), ax, box=((1, 1), (0, 0))
            ),
            "box",
        ),
        (lambda ax: plot.flow_line(cgru.Flow(cgru.gru(1.0)), ax, box=(1, 1)), "box"),
    ],
    ids=["portrait of a line", "line of a plane", "empty box", "empty line"],
)
def test_what_cannot_be_drawn_is_refused(draw, words):
    with pytest.raises(ValueError, match=words):
        draw(Figure().subplots())


def test_no_picture_needs_a_window():
    for path in (ROOT / "cgru_jax" / "plot").glob("*.py"):
        assert "pyplot" not in path.read_text()
