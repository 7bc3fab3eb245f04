"""A function of arrays as a value: a static program and the arrays that it closes over.

Neither `custom_jvp` nor `custom_vmap` sees a traced array that a function closes over, and
a fresh lambda compiles anew at each call. A `Program` cures both: it is hashed by what it
computes, and everything that it closed over comes back as a list of arguments.
"""

import functools

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np


class Program:
    """The jaxpr of a function; call it as `program(arrays, *inputs)`.

    Two programs are equal when they compute the same thing from the same shapes, whatever
    Python function they came from, so a compiled engine that takes one as a static
    argument is compiled once per model structure and size.
    """

    def __init__(self, jaxpr):
        self.jaxpr = jaxpr

    @functools.cached_property
    def _key(self):
        return str(self.jaxpr), tuple(_literals(self.jaxpr))

    def __hash__(self):
        return hash(self._key)

    def __eq__(self, other):
        return isinstance(other, Program) and self._key == other._key

    def __call__(self, arrays, *inputs):
        (value,) = jax.core.eval_jaxpr(self.jaxpr, arrays, *inputs)
        return value


def hoist(function, *inputs) -> tuple[Program, list]:
    """Trace `function` (arrays to one array) and separate program from arrays.

    The arrays may be tracers; `program(arrays, *inputs)` equals `function(*inputs)`.
    """
    closed = jax.make_jaxpr(function)(*inputs)
    return Program(closed.jaxpr), [jnp.asarray(c) for c in closed.consts]


def hoist_numbers(function, *inputs) -> tuple[Program, list]:
    """The same as `hoist`, with every floating number in the code an argument as well.

    A family that is built anew with another number, `lambda p: f(p, 2.3)`, is then still
    the same program. Numbers inside inner calls stay where they are.
    """
    program, arrays = hoist(function, *inputs)
    numbers = []

    def is_number(atom):
        return (
            isinstance(atom, jax.extend.core.Literal)
            and np.ndim(atom.val) == 0
            and jnp.issubdtype(atom.aval.dtype, jnp.floating)
        )

    for equation in program.jaxpr.eqns:
        atoms = [atom for atom in equation.invars if is_number(atom)]
        numbers += [jnp.asarray(atom.val, atom.aval.dtype) for atom in atoms]
    # A function that does nothing has as many variables as are needed here.
    names = jax.make_jaxpr(lambda *x: x)(*numbers).jaxpr.invars
    following = iter(names)
    equations = [
        e.replace(invars=[next(following) if is_number(x) else x for x in e.invars])
        for e in program.jaxpr.eqns
    ]
    constants = [*program.jaxpr.constvars, *names]
    jaxpr = program.jaxpr.replace(eqns=equations, constvars=constants)
    return Program(jaxpr), [*arrays, *numbers]


def _literals(jaxpr):
    """The values that a printed jaxpr abbreviates or leaves out, at any depth: array
    literals, and what inner calls close over."""
    for equation in jaxpr.eqns:
        for atom in equation.invars:
            if isinstance(atom, jax.extend.core.Literal) and np.ndim(atom.val):
                yield np.asarray(atom.val).tobytes()
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                yield from (np.asarray(x).tobytes() for x in getattr(inner, "consts", ()))
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from _literals(inner)
