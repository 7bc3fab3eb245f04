"""What a computation says about itself, and what an equilibrium is called."""

import equinox as eqx
import numpy as np


class RESULTS(eqx.Enumeration):
    """How a computation ended. Everything but `successful` comes with the cure."""

    successful = "successful"
    nonfinite = (
        "A parameter, start or input is NaN or infinite; nothing was computed. Check the "
        "arrays that the system holds."
    )
    negative = (
        "A gain or a spread is negative, where it is a standard deviation; nothing was "
        "computed. Change its sign."
    )
    inapplicable = (
        "The method does not cover this ensemble: see which of its numbers must be zero."
    )
    short = "Correlations have not decayed at the largest lag. Raise `lags`."
    empty_box = (
        "The box is empty: its low end must be below its high end in every coordinate."
    )
    not_converged = (
        "The iteration did not converge. Start nearer to the solution, or check that one "
        "exists."
    )
    singular = (
        "The Jacobian is singular at a solution: the value stands, its derivative does not "
        "exist and is NaN. Differentiate the bifurcation itself instead."
    )
    missed = (
        "An equilibrium was missed: the indices do not sum to one, as they must in the box "
        "of a cell. Use `enumerate_equilibria`, or more starts."
    )
    capacity = "There are more solutions than slots. Raise `capacity`."
    undecided = (
        "A part of the box could be neither proved empty nor proved to hold exactly one "
        "equilibrium: two are too near to each other, or one is degenerate. Move a "
        "parameter, or look at the place with `find_equilibria`."
    )
    budget = (
        "The boxes ran out before the search ended, as they do where equilibria are not "
        "isolated. Give a smaller `box`, or fewer units."
    )
    not_isolated = (
        "Equilibria fill a curve and cannot be listed. Where a symmetry makes them, break "
        "it; where a unit does nothing, leave it out."
    )
    overflow = (
        "The list of boxes was full and some were given up. Give a smaller `box`, or fewer "
        "members at once."
    )
    max_steps = (
        "The integrator used up its steps. Ask for less time or a larger `max_steps`."
    )
    diverged = "The state left every bound; later states are NaN."
    elsewhere = (
        "The iteration converged, but far from the guess (see `distance`): the answer is "
        "withheld. Start nearer to the point that you mean."
    )
    wrong_kind = (
        "What is there is of another kind: real eigenvalues where a pair is asked for (a "
        "neutral saddle), or branches that come near to each other and do not meet. The "
        "answer is withheld."
    )
    degenerate = (
        "There is a bifurcation, but no generic one of this kind: a coefficient of its "
        "normal form vanishes. Locate it as what it is: branch point, cusp, "
        "Bogdanov–Takens, generalised Hopf."
    )
    merged = (
        "Two of the listed points became one. List each collision once: the sink or the "
        "saddle of a pair, not both."
    )
    bound = "The branch reached a bound of the parameter."
    closed = "The branch came back to its start: it is a closed curve."
    step = (
        "The branch could not be followed further with any step. The last point may be "
        "where the field is not smooth."
    )
    unresolved = (
        "Somewhere the stability changes by more than the events that were found explain, "
        "or almost does: events lie too close together to tell, or one is degenerate."
    )
    no_cycle = (
        "What was reached is an equilibrium, not a cycle. Start elsewhere, or look for an "
        "unstable cycle with `stable=False`."
    )
    no_period = (
        "The orbit neither rests nor repeats itself as long as it was followed: it is "
        "chaotic, or slower than that. Look at its Lyapunov exponents."
    )
    multiple = (
        "The orbit closes several times within this period. Guess the period of one lap."
    )
    coarse = (
        "The trivial multiplier is not one: the mesh is too coarse for a verdict on "
        "stability. Raise `intervals`."
    )
    shrunk = (
        "The orbit shrank to a point: for a cycle a Hopf bifurcation is near, for a "
        "homoclinic orbit a Bogdanov–Takens point."
    )
    slow = (
        "The period grew beyond `longest`: an equilibrium is about to appear on the cycle, "
        "or the cycle is about to meet a saddle."
    )
    resonance = (
        "Two multipliers on the circle met at 1 or −1: a strong resonance is near, where "
        "curves of folds or of period doublings begin."
    )
    saddle_node = (
        "The saddle is about to meet a node: beyond, the orbit is one of a saddle-node, "
        "and a cycle ends where that appears on it."
    )
    no_saddle_node = (
        "No saddle-nodes account for the period of this cycle: it is not slow enough yet "
        "to tell, or it slows down beside a saddle (a homoclinic orbit is near)."
    )
    no_saddle = (
        "There is no saddle near the guess with exactly one eigenvalue on the side that is "
        "asked for. Start nearer to it, or reverse the time."
    )
    arrived = "The curve came to an equilibrium and ends there."
    outside = "The curve left the box."
    loss_lost = (
        "The training loss became NaN or infinite and the training stopped there; the "
        "model is the best before that. Lower the rate."
    )
    no_connection = (
        "The orbit that leaves the saddle comes nowhere near to where it should go. Try "
        "the other side, a larger `length`, or a parameter nearer to the connection."
    )
    no_root = (
        "Zero is the only static state of these networks. Raise the gain of the candidate, "
        "or give its bias a spread."
    )
    no_fold = (
        "The nonzero states begin at zero, at the critical gain: there is no fold. Raise "
        "the gain of a gate, or close it by its mean."
    )
    biased = (
        "A bias enters for which this theory is not made: with one in the candidate, zero "
        "is no state. Set its mean and its spread to zero."
    )


class KINDS(eqx.Enumeration):
    """What the linearised dynamics (and, where it is silent, the next order) says."""

    unknown = "unknown"
    sink = "sink"
    source = "source"
    saddle = "saddle"
    saddle_node_first = "saddle-node of the first kind"
    saddle_node_second = "saddle-node of the second kind"
    hopf = "Hopf point"
    codimension_two = "codimension-two point"
    degenerate = "degenerate"


class EVENTS(eqx.Enumeration):
    """What happens to an equilibrium along a branch, or to a fold or Hopf point along a
    curve."""

    none = "nothing"
    fold = "fold"
    hopf = "Hopf bifurcation"
    branch_point = "branch point"
    period_doubling = "period doubling"
    neimark_sacker = "Neimark–Sacker bifurcation"
    cusp = "cusp"
    bogdanov_takens = "Bogdanov–Takens point"
    generalised_hopf = "generalised Hopf point"
    zero_hopf = "zero-Hopf point"


def name(item) -> str:
    """The identifier of one concrete member, as it is written in code and in files."""
    names = list(item._enumeration._name_to_item)
    return names[int(np.asarray(item._value))]


def choose(enumeration, default, *cases):
    """The member of the first case `(condition, member)` that holds, else `default`."""
    item = default
    for condition, member in reversed(cases):
        item = enumeration.where(condition, member, item)
    return item
