"""The sweep: `vmap` in chunks, the same bits on any number of devices."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import cgru_jax as cgru

ROOT = Path(__file__).parent.parent

# Orbits of a chaotic map: one different rounding anywhere is a different number at the end.
CHAOS = """
import hashlib, sys
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_enable_x64", True)
import cgru_jax as cgru

def orbit(x):
    return {"end": jax.lax.fori_loop(0, 200, lambda _, x: 1.1 + jnp.sin(7 * x), x)}

def digest(tree):
    leaves = [np.ascontiguousarray(x).tobytes() for x in jax.tree.leaves(tree)]
    return hashlib.sha256(b"".join(leaves)).hexdigest()
"""


def programs(*codes, devices=1):
    """What several programs print that run at the same time."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} {flags}",
    }
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for code in codes
    ]
    try:
        ended = [process.communicate(timeout=200) for process in running]
    finally:
        for process in running:
            process.kill()
    for process, (_, error) in zip(running, ended, strict=True):
        assert process.returncode == 0, error
    return [out.splitlines() for out, _ in ended]


@pytest.mark.parametrize(("size", "chunk"), [(12, 4), (13, 4), (3, 5), (1, 1)])
def test_a_sweep_is_vmap_whatever_the_chunk(size, chunk):
    batch = {"x": 0.3 + jnp.arange(size * 2.0).reshape(size, 2), "word": "kept"}

    def both(member):
        assert member["word"] == "kept"
        return member["x"] ** 2, {"sum": member["x"].sum(), "name": "the same for all"}

    square, rest = cgru.sweep(both, batch, chunk=chunk)
    assert jnp.array_equal(square, batch["x"] ** 2)
    assert jnp.array_equal(rest["sum"], batch["x"].sum(axis=1))
    assert rest["name"] == "the same for all"


def test_cells_go_in_and_kinds_come_out():
    # tanh(a h + b) − h at the zero h of tanh(a h + b) = h with b = artanh(h) − a h.
    slope, h = jnp.linspace(0.3, 4.0, 11), 0.2
    cells = eqx.filter_vmap(lambda a: cgru.gru(2 * a, b_h=jnp.arctanh(h) - a * h))(slope)

    def kind(cell):
        return cgru.classify(cgru.Flow(cell), jnp.array([h])).kind

    unstable = slope * (1 - h**2) > 1
    kinds = cgru.sweep(kind, cells, chunk=4)
    assert jnp.array_equal(kinds == cgru.KINDS.source, unstable)
    assert jnp.array_equal(kinds == cgru.KINDS.sink, ~unstable)


def test_random_keys_and_nothing_at_all_are_batches():
    keys = jr.split(jr.key(0), 5)
    drawn = cgru.sweep(lambda key: (jr.normal(key), jr.fold_in(key, 1)), keys, chunk=2)
    assert jnp.array_equal(drawn[0], jax.vmap(jr.normal)(keys))
    assert jnp.array_equal(
        jr.key_data(drawn[1]), jr.key_data(jax.vmap(lambda k: jr.fold_in(k, 1))(keys))
    )
    none = cgru.sweep(lambda x: {"y": x @ x}, jnp.zeros((0, 3)), chunk=2)
    assert none["y"].shape == (0,)


def test_the_sum_over_a_sweep_has_the_gradient_of_its_terms():
    x = 0.3 + jnp.arange(5.0)

    def total(scale):
        return jnp.sum(cgru.sweep(lambda x: jnp.sin(scale * x), x, chunk=2))

    # Both sides sum five terms of order one in double precision.
    expected = jnp.sum(x * jnp.cos(1.7 * x))
    assert jnp.allclose(jax.grad(total)(1.7), expected, rtol=1e-14)
    assert jnp.allclose(jax.jit(jax.grad(total))(1.7), expected, rtol=1e-14)


def test_a_function_made_anew_is_compiled_once():
    x = jnp.linspace(0.3, 1.0, 7)
    compiled = []

    def count(event, _, **__):
        compiled.append(event == "/jax/core/compile/backend_compile_duration")

    scale = jnp.asarray(0.3)
    cgru.sweep(lambda x: jnp.cos(scale * x), x, chunk=3)
    jax.monitoring.register_event_duration_secs_listener(count)
    try:
        for shift in range(100):
            scale = jnp.asarray(float(shift))
            cgru.sweep(lambda x, scale=scale: jnp.cos(scale * x), x, chunk=3)
    finally:
        jax.monitoring.unregister_event_duration_listener(count)
    assert sum(compiled) == 0


def test_one_two_and_four_devices_give_the_same_bits():
    code = CHAOS + (
        "x = jnp.linspace(0.3, 1.0, 101)\n"
        "print(jax.device_count(), digest(cgru.sweep(orbit, x, chunk=8)))\n"
    )
    printed = [programs(code, devices=n)[0][0].split() for n in (1, 2, 4)]
    assert [int(devices) for devices, _ in printed] == [1, 2, 4]
    assert len({digest for _, digest in printed}) == 1


def test_two_hosts_share_a_sweep_and_both_get_the_whole():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    join = """
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize("127.0.0.1:{}", num_processes=2, process_id={},
                           cluster_detection_method="deactivate")
"""
    work = """
x = jax.random.normal(jax.random.key(1), (101,))
print(jax.device_count(), digest(cgru.sweep(orbit, x, chunk=8)))
"""
    ((alone,),) = programs(CHAOS + work)
    pair = programs(*(CHAOS + join.format(port, i) + work for i in range(2)), devices=2)
    shown = [line.split() for line in (alone, *(lines[-1] for lines in pair))]
    assert [int(devices) for devices, _ in shown] == [1, 4, 4]
    assert len({digest for _, digest in shown}) == 1


@pytest.mark.parametrize(
    ("batch", "chunk", "message"),
    [
        (np.zeros(3), 0, "chunk must be a whole number ≥ 1, got 0"),
        (np.zeros(3), True, "chunk must be a whole number"),
        ({"a": np.zeros(3), "b": np.zeros((4, 2))}, 1, "'a'.* of length 3 and .*'b'.* 4"),
        ({"a": np.zeros(())}, 1, r"batch\['a'\] is a scalar"),
        ("cells", 1, "no array at all"),
    ],
)
def test_what_cannot_be_swept_is_refused(batch, chunk, message):
    with pytest.raises(ValueError, match=message):
        cgru.sweep(lambda x: x, batch, chunk=chunk)
