"""Surveys with real proofs: processes that are killed, and workers of a cluster."""

import json
import os
import subprocess
import sys
import time

import pytest

import cgru_jax as cgru

from .test_survey import ROOT, files, nursery

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


def test_ten_kills_in_the_middle_of_proofs_change_no_bit(tmp_path):
    # In turns after a part of its own, which is among the proofs, and at any moment of
    # starting and tracing. Who had ended already is not counted.
    code = """
random.seed(5)
more = "--keep", "all", "--units", "1"
parts = lambda: len(glob.glob({killed!r} + "/parts/*.parquet"))
ended = lambda child: os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
kills, moments = 0, []
while kills < 10:
    before = parts()
    among_proofs = kills % 2 == 0 and before < 9
    child = start({killed!r}, *more)
    while among_proofs and parts() == before and not ended(child):
        time.sleep(0.01)
    time.sleep(random.uniform(0, 0.1 if among_proofs else 2))
    os.kill(child, signal.SIGKILL)
    kills += end(child) == -signal.SIGKILL
    moments.append(parts())
codes = [end(start(folder, *more)) for folder in ({killed!r}, {whole!r})]
print(json.dumps([codes, moments]))
"""
    folders = {name: str(tmp_path / name) for name in ("killed", "whole")}
    codes, moments = nursery(code, proofs=True, **folders)
    assert codes == [0, 0]
    assert moments == sorted(moments)  # nothing is lost
    assert len(set(moments)) >= 3  # and the survey was under way
    killed, whole = (files(folder) for folder in folders.values())
    assert killed == whole
    summary = json.loads(whole["summary.json"])
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
