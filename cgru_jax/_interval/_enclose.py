"""Enclose a program over boxes: one pass over its jaxpr, one node per scalar."""

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np

from .. import _scalars
from . import _base as iv
from . import _functions as functions
from . import _nodes as nodes
from ._nodes import Node

CALLS = _scalars.CALLS | {"custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"}
UNARY = {
    "neg": nodes.negate,
    "rsqrt": lambda a: nodes.reciprocal(_increasing("sqrt", a)),
    "sin": functions.sin,
    "cos": functions.cos,
    "abs": functions.absolute,
    "square": nodes.square,
    "stop_gradient": lambda a: a,
    "copy": lambda a: a,
}
BINARY = {
    "add": nodes.add,
    "add_any": nodes.add,
    "sub": nodes.subtract,
    "mul": nodes.multiply,
    "div": nodes.divide,
    "max": nodes.maximum,
    "min": nodes.minimum,
}
REDUCTIONS = {
    "reduce_sum": nodes.add,
    "reduce_prod": nodes.multiply,
    "reduce_max": nodes.maximum,
    "reduce_min": nodes.minimum,
}
ARITHMETIC = frozenset((*UNARY, *BINARY, *functions.INCREASING))
SUMS = frozenset(("dot_general", *REDUCTIONS))
# Treated one by one in `_elementwise`.
SPECIAL = frozenset("integer_pow pow clamp convert_element_type select_n".split())
# Functions of exactly known numbers whose floating result is exact, or is not a float.
EXACT = frozenset(
    "and eq ge gt le lt ne not or xor is_finite floor ceil round sign".split()
)


def enclose(program, constants, centre, radii) -> list[Node]:
    """The components of `program(arrays, x)` for x in the box `centre ± radii`.

    **Arguments:**

    - `program`: a `Program` of one input of shape `(n,)`.
    - `constants`: for each array that it closes over an object array of its scalars.
    - `centre`, `radii`: `n` scalars each. Every scalar may be an array over a block of
      boxes; all of them together broadcast. Without radii, `[]`, the box is the centre, and
      the nodes have no gradients.

    **Returns:** one `Node` per component: range, value at the centre, gradient. Factors
    that are positive whatever the box have been dropped, since they move no zero and do
    not change the sign of the Jacobian's determinant there.

    **Fails:** `ValueError` that names the primitive, for a program that cannot be enclosed.
    """
    pools = [_pool(array, lambda x: nodes.constant(radii, x)) for array in constants]
    box = np.empty(len(centre), object)
    box[:] = [nodes.variable(radii, j, c) for j, c in enumerate(centre)]
    (value,) = _walk(program.jaxpr, [*pools, box], radii)
    return nodes.store([_without_positive_factors(node) for node in value.ravel()])


def contract(node: Node, box: list) -> list:
    """Shrink a box to where `node` can be zero.

    One sweep from the value back to the coordinates, through sums and through products
    with a factor of one sign. `box` is a list of pairs; it comes back contracted, with low
    above high where no zero is left.
    """
    box = list(box)
    _require(node, (0.0, 0.0), box)
    return box


def _walk(jaxpr, values, radii):
    environment = dict(zip([*jaxpr.constvars, *jaxpr.invars], values, strict=True))

    def read(atom):
        if isinstance(atom, jax.extend.core.Literal):
            return _pool(np.asarray(atom.val), lambda x: nodes.constant(radii, float(x)))
        return environment[atom]

    for equation in jaxpr.eqns:
        outputs = _apply(equation, [read(atom) for atom in equation.invars], radii)
        environment.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _apply(equation, operands, radii):
    name = equation.primitive.name
    if name in CALLS:
        inner, constants = _scalars.inner_jaxpr(equation)
        pools = [
            _pool(_scalars.split(c), lambda x: nodes.constant(radii, x)) for c in constants
        ]
        return _walk(inner, [*pools, *operands], radii)
    if name in _scalars.STRUCTURAL:
        moved = (
            _scalars.permute(equation, [operands[0], *map(_indices, operands[1:])])
            if name in ("gather", "dynamic_slice")
            else _scalars.permute(equation, operands)
        )
        if moved is not None:
            return moved
        raise _unsupported(
            name, "with an array for an index (write its numbers: jnp.stack([h[1], h[0]]))"
        )
    if name in SUMS and not _is_double(equation):
        raise _unsupported(name, f"of {equation.outvars[0].aval.dtype}")
    if name == "dot_general":
        # Every component of a product of matrices consumes the whole row.
        operands = [_like(a, nodes.store(list(a.ravel()))) for a in operands]
        return [_scalars.contract(equation, *operands, nodes.multiply, nodes.add)]
    if name in REDUCTIONS:
        if not operands[0].size:  # of nothing: 0 or 1, whatever the box
            one = np.full(equation.outvars[0].aval.shape, float(name == "reduce_prod"))
            return [_pool(one, lambda x: nodes.constant(radii, float(x)))]
        return [_reduce(REDUCTIONS[name], operands[0], equation.params["axes"])]
    if not operands:
        with jax.ensure_compile_time_eval():
            value = equation.primitive.bind(**equation.params)
        return [_pool(np.asarray(value), lambda x: nodes.constant(radii, float(x)))]
    if name in functions.INCREASING and _is_double(equation):
        (operand,) = operands
        return [_like(operand, functions.increasing(name, list(operand.ravel())))]
    if not any(name in known for known in (ARITHMETIC, SPECIAL, EXACT)):
        raise _unsupported(name)
    if any(
        jnp.issubdtype(atom.aval.dtype, jnp.complexfloating) for atom in equation.outvars
    ):
        raise _unsupported(name, "of complex numbers")
    shape = equation.outvars[0].aval.shape
    grids = [np.broadcast_to(operand, shape).ravel() for operand in operands]
    outputs = [
        _elementwise(equation, scalars, radii) for scalars in zip(*grids, strict=True)
    ]
    return [_like(np.empty(shape, object), outputs)]


def _elementwise(equation, scalars, radii):
    name = equation.primitive.name
    if name in ARITHMETIC and not _is_double(equation):
        # Whole or narrow numbers wrap and round in their own way.
        return _exactly(equation, scalars, radii, f"of {equation.outvars[0].aval.dtype}")
    if name in UNARY:
        return UNARY[name](*scalars)
    if name in BINARY:
        return BINARY[name](*scalars)
    if name == "integer_pow":
        return nodes.power(scalars[0], equation.params["y"])
    if name == "pow":
        return _pow(*scalars)
    if name == "clamp":
        return nodes.minimum(nodes.maximum(scalars[1], scalars[0]), scalars[2])
    if name == "convert_element_type":
        return _convert(equation, scalars[0], radii)
    if name == "ne" and scalars[0] is scalars[1]:
        return nodes.constant(radii, 0.0)  # a test for NaN
    if name == "select_n" and _known(scalars[0]) and len(scalars) == 3:
        return _select(*scalars)
    if name in EXACT:
        return _exactly(equation, scalars, radii, "of a number that depends on the state")
    raise _unsupported(name, "with these operands")


def _is_double(equation) -> bool:
    return equation.outvars[0].aval.dtype == jnp.float64


def _exactly(equation, scalars, radii, refusal):
    """The primitive itself, on numbers that are known and have no error."""
    if not all(map(_known, scalars)):
        raise _unsupported(equation.primitive.name, refusal)
    values = [
        jnp.asarray(x.centre).astype(atom.aval.dtype)
        for x, atom in zip(scalars, equation.invars, strict=True)
    ]
    value = equation.primitive.bind(*jnp.broadcast_arrays(*values), **equation.params)
    return nodes.constant(radii, value.astype(float))


def _select(condition, if_false, if_true):
    for value, chosen in ((0.0, if_false), (1.0, if_true)):
        if nodes.is_literal(condition, value):
            return chosen
    return nodes.select(condition.centre != 0, if_true, if_false)


def _pow(a, b):
    if isinstance(b.centre, float) and b.constant:
        if b.centre.is_integer() and abs(b.centre) <= 64:
            return nodes.power(a, int(b.centre))
        if b.centre == 0.5:
            return _increasing("sqrt", a)
    # Defined for a base ≥ 0 only, like the power itself, and zero where that is.
    value = _increasing("exp", nodes.multiply(b, _increasing("log", a)))
    return value if a.positive else value.perhaps_zero()


def _convert(equation, a, radii):
    source, target = equation.invars[0].aval.dtype, equation.params["new_dtype"]
    wider = jnp.promote_types(source, target) == target
    if wider or (_known(a) and not jnp.issubdtype(target, jnp.floating)):
        if wider:
            return a
        value = jnp.asarray(a.centre).astype(target).astype(float)
        return nodes.constant(radii, value)
    raise _unsupported("convert_element_type", f"from {source} to {target}")


def _reduce(operation, operand, axes):
    for axis in sorted(axes, reverse=True):
        parts = np.moveaxis(operand, axis, 0)
        operand = parts[0]
        for part in parts[1:]:
            pairs = np.empty(np.shape(operand), object)
            for i in np.ndindex(pairs.shape):
                pairs[i] = operation(
                    operand[i] if pairs.shape else operand, part[i] if pairs.shape else part
                )
            operand = pairs if pairs.shape else pairs[()]
    pool = np.empty(np.shape(operand), object)
    pool[...] = operand
    return pool


def _indices(operand):
    """The plain values of index operands, if they are known while tracing."""
    return _pool(operand, lambda a: a.centre)


def _increasing(name, a):
    return functions.increasing(name, [a])[0]


def _like(array, nodes) -> np.ndarray:
    """An array of nodes in the shape of another."""
    pool = np.empty(array.shape, object)
    for i, node in zip(np.ndindex(pool.shape), nodes, strict=True):
        pool[i] = node
    return pool


def _known(a) -> bool:
    return a.constant and a.error is None


def _pool(array, make) -> np.ndarray:
    pool = np.empty(np.shape(array), object)
    for i in np.ndindex(pool.shape):
        pool[i] = make(array[i])
    return pool


def _unsupported(name, how="") -> ValueError:
    return ValueError(
        f"No interval rule for the primitive '{name}'{' ' + how if how else ''}: this "
        "field cannot be enclosed. Rewrite it with arithmetic, tanh, sigmoid, exp, log, "
        "sqrt, sin, cos, abs, max and min, or use find_equilibria, which proves nothing."
    )


def _without_positive_factors(node):
    kind, operands = node.origin
    if kind == "multiply":
        for factor, other in (operands, operands[::-1]):
            if factor.positive:
                return _without_positive_factors(other)
    if kind == "negate":
        inner = _without_positive_factors(operands[0])
        return node if inner is operands[0] else nodes.negate(inner)
    return node


def _require(node, target, box):
    """Shrink `box` to where `node` can lie in `target`."""
    kind, operands = node.origin
    if not _leads_to_a_coordinate(node):
        return
    if kind == "variable":
        box[operands] = iv.intersect(box[operands], target)
    elif kind == "negate":
        _require(operands[0], iv.negate(target), box)
    elif kind == "add":
        for a, b in (operands, operands[::-1]):
            if _leads_to_a_coordinate(a):
                _require(a, iv.add(target, iv.negate(b.range)), box)
    elif kind == "multiply":
        for a, b in (operands, operands[::-1]):
            if _invertible(b) and _leads_to_a_coordinate(a):
                _require(a, iv.multiply(target, iv.reciprocal(b.range)), box)


def _leads_to_a_coordinate(node) -> bool:
    kind, operands = node.origin
    if kind == "variable":
        return True
    if kind == "multiply":
        a, b = operands
        return (_invertible(b) and _leads_to_a_coordinate(a)) or (
            _invertible(a) and _leads_to_a_coordinate(b)
        )
    return kind is not None and any(map(_leads_to_a_coordinate, operands))


def _invertible(node) -> bool:
    return node.positive or node.constant
