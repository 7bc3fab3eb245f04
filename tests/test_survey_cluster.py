"""Surveys with real proofs: processes that are killed, and workers of a cluster."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

import cgru_jax as cgru

from .test_survey import ROOT, census, files

pytestmark = pytest.mark.slow
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


def start(*command):
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def test_kills_in_the_middle_of_proofs_change_no_bit(tmp_path):
    def command(name):
        more = census(tmp_path / name, "--keep", "all", "--units", "1")
        return start("cgru_jax", *more)

    # The first compiles for all; the second shows how long the others would take.
    assert command("whole").wait() == 0
    begun = time.time()
    assert command("again").wait() == 0
    whole = time.time() - begun
    moments = random.Random(5)
    for _ in range(3):
        process = command("killed")
        time.sleep(moments.uniform(0, whole))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert command("killed").wait() == 0
    killed, again, expected = (files(tmp_path / x) for x in ("killed", "again", "whole"))
    assert killed == again == expected
    summary = json.loads(expected["summary.json"])
    assert (summary["samples"], summary["complete"]) == (8_999, 8_999)
    assert summary["index_sums_off"] == 0


def test_a_cluster_that_loses_a_worker_loses_no_network(tmp_path):
    from distributed import Client

    plan = cgru.SurveyPlan("gauss", 160_000, seed=2, units=1)
    assert plan.parts == 8
    meeting = str(tmp_path / "scheduler.json")
    here = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", meeting]
    alone = ["--no-nanny", "--nthreads", "1", "--local-directory", str(tmp_path / "work")]
    scheduler = start("distributed.cli.dask_scheduler", *here, "--port", "0")
    workers = [start("distributed.cli.dask_worker", *here, *alone) for _ in range(2)]
    killed = []

    def kill_one(done, total):
        if done and not killed:
            killed.append(done)
            workers[0].kill()

    try:
        while not os.path.exists(meeting):
            time.sleep(0.05)
            assert scheduler.poll() is None
        with Client(scheduler_file=meeting, timeout=60) as client:
            client.wait_for_workers(2, timeout=60)
            executor = client.get_executor()
            seen = cgru.survey(plan, tmp_path / "x", executor=executor, callback=kill_one)
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()
    assert killed
    assert killed[0] < plan.samples
    assert (seen.samples, seen.complete, seen.missing) == (160_000, 160_000, 0)
    assert len(list((tmp_path / "x" / "parts").iterdir())) == plan.parts
    # One part, made here, is the same to the bit.
    cgru.survey(plan, tmp_path / "y", shard=(4, 8))
    ours = files(tmp_path / "y")
    assert ours.items() <= files(tmp_path / "x").items()
    assert "parts/000003.parquet" in ours
