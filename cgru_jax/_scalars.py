"""Evaluate a program one scalar at a time.

Under `vmap` a program of scalars is a structure of arrays: every number of a batch lies in
a row of its own and every operation is elementwise. For systems of one to three dimensions
this is many times faster than a batch of small matrices, and autodiff goes through it.
"""

import functools
import math

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np

ELEMENTWISE = frozenset(
    "abs acos acosh add add_any and asin asinh atan atan2 atanh cbrt ceil clamp "
    "convert_element_type copy cos cosh div eq erf erf_inv erfc exp exp2 expm1 floor ge gt "
    "integer_pow is_finite le lgamma digamma log log1p logistic lt max min mul ne neg "
    "nextafter not or pow reciprocal rem round rsqrt select_n sign sin sinh sqrt square "
    "stop_gradient sub tan tanh xor".split()
)
STRUCTURAL = frozenset(
    "broadcast_in_dim concatenate dynamic_slice expand_dims gather reshape rev slice split "
    "squeeze stack transpose unstack".split()
)
CALLS = frozenset("jit pjit closed_call core_call remat checkpoint remat2".split())
LARGEST = 2_000  # scalar operations; beyond this compiling costs more than vmap loses


def evaluate(program, arrays, point):
    """The scalars of `program(arrays, point)`, given the scalars of `point`.

    **Arguments:**

    - `program`: a `Program` of one input of shape `(n,)`.
    - `arrays`: the arrays that it closes over.
    - `point`: a list of `n` scalars.

    **Returns:** a list of scalars.
    """
    pools = [split(array) for array in arrays]
    (value,) = _walk(program.jaxpr, [*pools, _pool(point)])
    return list(value.ravel())


@functools.cache
def worthwhile(program) -> bool:
    """Whether writing the program out in scalars stays small."""
    return _size(program.jaxpr) <= LARGEST


def split(array) -> np.ndarray:
    """An array of shape `s` as a NumPy object array of shape `s` that holds its scalars."""
    array = jnp.asarray(array)
    flat = array.reshape(-1)
    return _pool([flat[i] for i in range(flat.size)]).reshape(array.shape)


def join(pool) -> jax.Array:
    """The inverse of `split`."""
    if pool.size == 0:
        return jnp.zeros(pool.shape)
    return jnp.stack([jnp.asarray(x) for x in pool.ravel()]).reshape(pool.shape)


def permute(equation, operands):
    """Carry out a structural equation on object arrays: the same move, made on indices.

    Returns a list of object arrays, or `None` if the move depends on traced values.
    """
    moved = 1 if equation.primitive.name in ("gather", "dynamic_slice") else len(operands)
    fixed = []
    for pool in operands[moved:]:
        if any(isinstance(x, jax.core.Tracer) for x in pool.ravel()):
            return None
        fixed.append(np.array(pool.tolist(), dtype=np.int32).reshape(pool.shape))
    pool = np.concatenate([operand.ravel() for operand in operands[:moved]])
    starts = np.cumsum([0, *(operand.size for operand in operands[: moved - 1])])
    indices = [
        np.arange(start, start + operand.size, dtype=np.int32).reshape(operand.shape)
        for operand, start in zip(operands[:moved], starts, strict=True)
    ]
    with jax.ensure_compile_time_eval():
        outputs = equation.primitive.bind(
            *map(jnp.asarray, [*indices, *fixed]), **equation.params
        )
    if not equation.primitive.multiple_results:
        outputs = [outputs]
    indices = [np.asarray(output) for output in outputs]
    # Indexing with an array of shape () would give the bare scalar.
    return [pool[index.ravel()].reshape(index.shape) for index in indices]


def contract(equation, left, right, product, add):
    """Carry out `dot_general` on object arrays, given how to multiply and to add."""
    (left_sum, right_sum), (left_batch, right_batch) = equation.params["dimension_numbers"]
    left_free = [i for i in range(left.ndim) if i not in (*left_sum, *left_batch)]
    right_free = [i for i in range(right.ndim) if i not in (*right_sum, *right_batch)]
    a = left.transpose([*left_batch, *left_free, *left_sum])
    b = right.transpose([*right_batch, *right_free, *right_sum])
    batch = a.shape[: len(left_batch)]
    rows = a.shape[len(batch) : len(batch) + len(left_free)]
    columns = b.shape[len(batch) : len(batch) + len(right_free)]
    a = a.reshape(math.prod(batch), math.prod(rows), -1)
    b = b.reshape(math.prod(batch), math.prod(columns), -1)
    values = [
        functools.reduce(add, map(product, row, column))
        for a_block, b_block in zip(a, b, strict=True)
        for row in a_block
        for column in b_block
    ]
    return _pool(values).reshape((*batch, *rows, *columns))


def inner_jaxpr(equation):
    """The open jaxpr and the constants of a call."""
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        if key in equation.params:
            inner = equation.params[key]
            return getattr(inner, "jaxpr", inner), list(getattr(inner, "consts", []))
    raise AssertionError(f"{equation.primitive} holds no jaxpr")


def _pool(scalars) -> np.ndarray:
    pool = np.empty(len(scalars), dtype=object)
    for i, scalar in enumerate(scalars):  # a slice would ask a tracer for its values
        pool[i] = scalar
    return pool


def _size(jaxpr) -> int:
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name in CALLS:
            total += _size(inner_jaxpr(equation)[0])
            continue
        total += sum(math.prod(variable.aval.shape) for variable in equation.outvars)
        if equation.primitive.name == "dot_general":
            total += math.prod(equation.invars[0].aval.shape)
    return total


def _walk(jaxpr, values):
    environment = dict(zip([*jaxpr.constvars, *jaxpr.invars], values, strict=True))

    def read(atom):
        if isinstance(atom, jax.extend.core.Literal):
            literal = np.asarray(atom.val, dtype=atom.aval.dtype)
            return _pool([literal[i] for i in np.ndindex(literal.shape)]).reshape(
                literal.shape
            )
        return environment[atom]

    for equation in jaxpr.eqns:
        operands = [read(atom) for atom in equation.invars]
        outputs = _apply(equation, operands)
        environment.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _apply(equation, operands):
    name = equation.primitive.name
    if name in ELEMENTWISE:
        shape = equation.outvars[0].aval.shape
        grids = [np.broadcast_to(operand, shape).ravel() for operand in operands]
        scalars = zip(*grids, strict=True)
        outputs = [equation.primitive.bind(*xs, **equation.params) for xs in scalars]
        return [_pool(outputs).reshape(shape)]
    if name in STRUCTURAL:
        moved = permute(equation, operands)
        if moved is not None:
            return moved
    if name == "dot_general":
        return [contract(equation, *operands, jnp.multiply, jnp.add)]
    if name == "reduce_sum":
        return [_sum(operands[0], tuple(equation.params["axes"]))]
    if name in CALLS:
        inner, constants = inner_jaxpr(equation)
        return _walk(inner, [*map(split, constants), *operands])
    # Custom rules, loops and everything else stay whole.
    return _apply_whole(equation, operands)


def _sum(pool, axes):
    total = pool.sum(axis=axes)
    return total if isinstance(total, np.ndarray) else _pool([total]).reshape(())


def _apply_whole(equation, operands):
    known = {
        atom: join(operand)
        for atom, operand in zip(equation.invars, operands, strict=True)
        if not isinstance(atom, jax.extend.core.Literal)
    }
    info = jax.api_util.debug_info("one equation", _apply_whole, (), {})
    alone = jax.extend.core.Jaxpr(
        constvars=[],
        invars=list(known),
        outvars=list(equation.outvars),
        eqns=[equation],
        effects=equation.effects,
        debug_info=info._replace(
            arg_names=("",) * len(known), result_paths=("",) * len(equation.outvars)
        ),
    )
    return [split(x) for x in jax.core.eval_jaxpr(alone, [], *known.values())]
