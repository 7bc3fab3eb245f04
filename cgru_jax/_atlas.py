"""The tables of the paper as data: 11 figures and 36 catalogued two-unit GRUs.

Source: the ICLR 2019 submission on the GRU as a continuous dynamical system. Parameters
of the figures: Table 1, p. 12; of the catalogue: Table 3, p. 16; counts: Table 2, p. 12;
portraits of the catalogue: Figure 9, pp. 13–15. Update gate: U_z = 0, b_z = 0 throughout.
Everything is as printed, which does not mean correct: `AtlasRow.note` says what is known.
"""

import dataclasses
import types
from typing import NamedTuple

from ._cells import GRU, gru


class Counts(NamedTuple):
    """How many equilibria of each kind; the field names are those of `KINDS`, plural."""

    sinks: int = 0
    sources: int = 0
    saddles: int = 0
    saddle_nodes_first: int = 0
    saddle_nodes_second: int = 0
    codimension_two: int = 0

    @property
    def total(self) -> int:
        return sum(self)

    @property
    def collisions(self) -> int:
        """Saddle-nodes of either kind; which kind a printed one is, is often a guess."""
        return self.saddle_nodes_first + self.saddle_nodes_second

    @property
    def index_sum(self) -> int:
        """Sum of the Poincaré indices, which a GRU can only have equal to +1: its field
        points into the box. A saddle-node has index 0; so has the paper's codimension-two
        point, the fusion of a sink, a source and two saddles."""
        return self.sinks + self.sources - self.saddles


@dataclasses.dataclass(frozen=True)
class AtlasRow:
    """One printed parameter set.

    - `name`: `"2"` … `"7"` for a figure of section 4, `"i"` … `"xxxvi"` for the catalogue.
    - `page`: where its parameters are printed.
    - `figure`, `figure_page`: its portrait.
    - `U_h`, `U_r`: two rows of two numbers. `b_h`, `b_r`: two numbers.
    - `printed`: the counts that the paper gives, in Table 2 or in the text of a figure;
      `None` where it gives none.
    - `note`: what is known to be wrong with the row, or empty.
    """

    name: str
    page: int
    figure: str
    figure_page: int
    U_h: tuple[tuple[float, float], tuple[float, float]]
    U_r: tuple[tuple[float, float], tuple[float, float]]
    b_h: tuple[float, float]
    b_r: tuple[float, float]
    printed: Counts | None
    note: str = ""

    def cell(self) -> GRU:
        """The two-unit GRU with these parameters."""
        return gru(self.U_h, self.U_r, b_h=self.b_h, b_r=self.b_r)


# name | U_h by rows | U_r by rows | b_h | b_r | counts, as below; missing ones are zero
# Counts are from the text of section 4 and its captions; 3b and 3c are cases iv and vi.
_TABLE_1 = """
2  | 3 0 0 3                       | 0 0 0 0         | 0 0     | 0 0       | 4 1 4
3a | 2 0 0 2                       | 5 8 8 5         | 0 0     | 5 5       | 5 1 5
3b | 2 0 0 2                       | -1 0 0 -1       | 0 0     | 0 0       | 1 0 0 2 0 1
3c | 2 0 0 2                       | 1 -2 3 1        | -0.06 0 | 0.2 -0.85 | 2 0 1 0 1 0
4a | 2 0 0 2                       | 5 9 5 9         | 0 0     | 0 0       |
4b | 2 0 0 2                       | 5 9 9 5         | 0 0     | 0 0       |
5a | 1.5 -2.598 2.598 1.5          | 0 0 0 0         | 0 0     | 0 0       | 1 0 0
5b | 2.4271 -1.7634 1.7634 2.4271  | 0 0 0 0         | 0 0     | 0 0       | 0 1 0
5c | 2.9665 -0.4471 0.4471 2.9665  | 0 0 0 0         | 0 0     | 0 0       | 0 1 0
6  | 0.1 -0.1 -1 0                 | 0 0 0 0         | 0 0     | 0 0       | 1 0 0
7  | 2 2 2 2                       | 100 100 100 100 | 0.01 0  | 0 0       | 1 0 0
"""
_FIGURE_PAGES = {"2": 3, "3": 4, "4": 5, "5": 5, "6": 6, "7": 7}

# name | U_h by rows | U_r by rows | b_h | b_r |
# sinks sources saddles, saddle-nodes first second, codimension two
# The text copy of Table 2 has lost its blanks. Here every column is kept in its printed
# order and every row adds up to its printed number of fixed points; that alone does not
# fix the alignment. Rows ix, x, xxii–xxiv, xxxi, xxxiii and xxxvi follow from their
# parameters; whether a collision of v–viii, xii, xiii, xvi–xx, xxv–xxx, xxxiv and xxxv is
# of the first or the second kind is a choice.
_TABLES_2_AND_3 = """
i       | 2 2 2 2         | 100 100 100 100   | 0 0        | 0 0           | 1 0 0 1 0 0
ii      | 2 2 2 2         | 0 0 0 0           | 0 0        | 0 0           | 2 0 1 0 0 0
iii     | 1.2 0 0 2       | 5 12 8 5          | 0 0        | -0.22 -0.5    | 1 0 0 2 0 0
iv      | 2 0 0 2         | -1 0 0 -1         | 0 0        | 0 0           | 1 0 0 2 0 1
v       | 2 0 0 2         | 1 -1 1 1          | 0 0        | 0 0           | 2 0 1 0 0 1
vi      | 2 0 0 2         | 1 -2 3 1          | -0.06 0    | 0.2 -0.85     | 2 0 1 0 1 0
vii     | 2 0 0 4         | 1 -2 3 1          | -0.06 0    | -0.3 -0.42    | 2 0 1 1 0 0
viii    | 1.2 0 0 2       | 5 20.5 8 5        | 0 0        | -0.275 -3.3   | 1 0 0 3 0 0
ix      | 3 3 0 3         | 0 0 0 0           | 0 0        | 0 0           | 2 1 2 0 0 0
x       | 6 0 0 6         | 0 -2 0 0          | 0 0        | -1.695 0      | 3 0 2 0 0 0
xi      | 6 0 0 6         | 0 1 0 0           | 0 0        | -2.5 0        | 3 0 1 0 1 0
xii     | 2 0 0 2         | 1 -2 3 1          | -0.055 0   | -0.1 -0.02    | 2 0 1 0 2 0
xiii    | 2 0 0 4         | 1 -2 3 1          | -0.06 0    | -0.085 -0.22  | 2 0 1 1 1 0
xiv     | 2.9674 -0.4409 0.4409 2.9674 | 0 0 0 0 | 0 0     | 0 0           | 0 1 0 4 0 0
xv      | 6 0 0 2         | -1 0 0 0          | 0 0        | 0 0           | 2 0 1 2 1 0
xvi     | 2 0 0 2         | 1 -2 3 1          | -0.06 0    | -0.08 3       | 3 0 2 0 1 0
xvii    | 2 0 0 2         | 1 -2 3 1.1        | -0.06 0    | 0.2 0         | 2 1 2 1 0 0
xviii   | 2 0 0 2         | 3 2 2 3           | 0 0        | 0 0           | 3 0 2 0 0 1
xix     | 10 0 0 6        | -3 5 -5 3         | 0 0        | -3 -3         | 2 1 2 0 1 0
xx      | 1.2 0 0 2       | -17 35 10 -8      | 0 0        | 1.2 -1.2      | 3 0 2 1 0 0
xxi     | 2.9763 -0.376 0.376 2.9763 | 0 0 0 0 | 0.0315 0  | -0.015 -0.015 | 1 1 1 3 0 0
xxii    | 6 0 0 6         | 0 -2 0 0          | 0 0        | 0 0           | 3 1 3 0 0 0
xxiii   | 3 0 0 3         | -3 -5 -5 -3       | 0 0        | -2 -2         | 2 2 3 0 0 0
xxiv    | 1.5 0 0 2       | -4 -7 8 5         | 0 0        | -0.4 -1.2     | 4 3 0 0 0 0
xxv     | 2 0 0 3         | 12.4 11.6 -8 -5   | 0 0        | 1.8 7         | 2 1 2 2 0 0
xxvi    | 3 0 0 3         | 5.175 9 9 5.175   | 0.3 0.3    | 3.95 3.95     | 3 0 2 2 0 0
xxvii   | 7 0 0 3         | 6 3 9 6           | 0.62 0.373 | 4 3.4         | 3 0 2 1 1 0
xxviii  | 6 0 0 10        | 0 0 -5 -8         | -0.08 0    | 0 -2          | 4 0 3 0 1 0
xxix    | 2 0 0 3         | -10 -11.6 8 5     | 0 0        | 4 4.8         | 3 1 3 1 0 0
xxx     | 3 0 0 3         | 5.26 9 9 5.26     | 0.25 0.25  | 3.95 3.95     | 3 0 2 2 1 0
xxxi    | 3 0 0 3         | 0 0 0 0           | 0 0        | 0 0           | 4 1 4 0 0 0
xxxii   | 2 0 0 2         | 5 8 8 5           | 0 0        | 4.4 4.4       | 3 1 3 2 0 0
xxxiii  | 3 0 0 3         | 6 9 9 6           | 0.3 0.3    | 3.75 3.75     | 5 0 4 0 0 0
xxxiv   | 1 0 0 1         | 5 8 8 5           | 0 0        | 4.4 4.9       | 4 1 4 1 0 0
xxxv    | 3 0 0 3         | 6 9 9 6           | 0.24 0.24  | 3.95 3.95     | 5 0 4 0 1 0
xxxvi   | 2 0 0 2         | 5 8 8 5           | 0 0        | 5 5           | 5 1 5 0 0 0
"""

_NOTES = {
    "4a": "The Jacobian at the origin vanishes exactly.",
    "4b": "The Jacobian at the origin vanishes exactly.",
    "6": "Table 1 calls it 6a; the caption promises a pseudo-line attractor.",
    "7": "Table 1 calls it 7a.",
    "xi": "The printed counts have index sum 2, which no GRU can have. Its portrait is "
    "that of row x turned upside down.",
    "xv": "The second unit is h' = (tanh h − h)/2, triple at 0: every equilibrium is a "
    "triple root.",
    "xxiv": "The printed counts have index sum 7, which no GRU can have: the 3 that stands "
    "under sources belongs under saddles.",
    "xxxiv": "With U_h = 1 one equilibrium is all there is; U_h = 2 is meant.",
}


def _rows(table: str, page: int, portrait):
    for line in table.strip().splitlines():
        name, *blocks = (block.strip() for block in line.split("|"))
        U_h, U_r, b_h, b_r, counts = (block.split() for block in blocks)
        figure, figure_page = portrait(name)
        yield AtlasRow(
            name=name,
            page=page,
            figure=figure,
            figure_page=figure_page,
            U_h=_matrix(U_h),
            U_r=_matrix(U_r),
            b_h=tuple(map(float, b_h)),
            b_r=tuple(map(float, b_r)),
            printed=Counts(*map(int, counts)) if counts else None,
            note=_NOTES.get(name, ""),
        )


def _matrix(words):
    a, b, c, d = map(float, words)
    return ((a, b), (c, d))


def _atlas():
    figures = _rows(_TABLE_1, 12, lambda name: (name, _FIGURE_PAGES[name[0]]))
    atlas = {row.name: row for row in figures}
    cases = [line.split()[0] for line in _TABLES_2_AND_3.strip().splitlines()]
    # Figure 9 shows twelve panels a page.
    atlas |= {
        row.name: row
        for row in _rows(
            _TABLES_2_AND_3,
            16,
            lambda name: (f"9 ({name})", 13 + cases.index(name) // 12),
        )
    }
    return types.MappingProxyType(atlas)


ATLAS = _atlas()
"""All 47 rows by name, figures first: `ATLAS["3a"].cell()`, `ATLAS["xxxvi"].printed`."""
