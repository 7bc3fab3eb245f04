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
    not_converged = (
        "The iteration did not converge. Start nearer to the solution, or check that one "
        "exists."
    )
    singular = (
        "The Jacobian is singular at a solution: the value stands, its derivative does not "
        "exist and is NaN. Differentiate the bifurcation itself instead."
    )
    capacity = "There are more solutions than slots. Raise `capacity`."
    undecided = (
        "A part of the box could be neither proved empty nor proved to hold exactly one "
        "equilibrium: two are too near to each other to tell, or one is degenerate. Move a "
        "parameter, or look at the place with `find_equilibria`."
    )
    budget = (
        "The boxes ran out before the search ended, as they do where equilibria are not "
        "isolated. Give a smaller `box`, or fewer units."
    )
    overflow = (
        "The list of boxes was full and some were given up. Give a smaller `box`, or fewer "
        "members at once."
    )
    max_steps = (
        "The integrator used up its steps. Ask for less time or a larger `max_steps`."
    )
    diverged = "The state left every bound; later states are NaN."


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
