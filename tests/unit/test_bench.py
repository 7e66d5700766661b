"""The benchmarks: their problems, their bookkeeping, and every part once with a budget that proves nothing."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from hpo_fast_bench import child, cli, compare, machine, methods, parts, report, speed
from hpo_fast_bench.histories import history
from hpo_fast_bench.parts import blocks
from hpo_fast_bench.parts.acquisition import evaluator
from hpo_fast_bench.parts.loops import before_refit, begins_refit, interval, our_loop, refits_within
from hpo_fast_bench.problems import PROBLEMS, Problem
from hpo_fast_bench.run import before, measure, run, run_seeds
from hpo_fast_bench.scalable import FUNCTIONS, TASKS, scalable
from hpo_fast_bench.statistics import normalised_regret, upper_bound

from hpo_fast.backends import gaussian_process
from hpo_fast.strategies._refits import NEAR_FROM

T = TypeVar("T")


def bench(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    return cli.run(parser.parse_args(arguments))


# -- problems ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", TASKS.values(), ids=list(TASKS))
def test_optimum_is_where_it_is_said_to_be(problem: Problem) -> None:
    u = problem.space.encode(problem.best)
    assert TASKS[problem.name] is problem
    # The published coordinates have eight digits, and f is flat there: their square is what is left.
    assert problem.f(problem.best) == pytest.approx(problem.optimum, abs=1e-9)
    rng = np.random.default_rng(0)
    near = np.clip(np.nan_to_num(u, nan=0.5) + rng.normal(0, 0.01, (200, problem.space.d)), 0, 1)
    anywhere = rng.random((200, problem.space.d))
    for row in problem.space.canonical(np.vstack([near, anywhere])):
        assert problem.f(problem.space.decode(row)) >= problem.optimum - 1e-12


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=list(PROBLEMS))
def test_centre_is_no_optimum(problem: Problem) -> None:
    centre = problem.space.decode(problem.space.canonical(np.full((1, problem.space.d), 0.5))[0])
    rng = np.random.default_rng(0)
    values = [problem.f(problem.space.decode(u)) for u in problem.space.from_uniform(rng.random((60, problem.space.d)))]
    # A design that begins at the centre must not be given what 60 random points find.
    assert problem.f(centre) - problem.optimum > 0.7 * (min(values) - problem.optimum)


def test_the_twelve_are_what_the_comparison_promises() -> None:
    kinds = [problem.kind for problem in PROBLEMS.values()]
    assert {kind: kinds.count(kind) for kind in kinds} == {"continuous": 6, "noisy": 3, "mixed": 3}
    assert all((problem.noise > 0) == (problem.kind == "noisy") for problem in PROBLEMS.values())
    assert {problem.space.d for problem in PROBLEMS.values()} >= {2, 20}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_scalable_functions_have_their_optimum_off_the_centre(name: str) -> None:
    problem, noisy = scalable(name, 3), scalable(name, 3, 0.1)
    assert problem.f(problem.best) == pytest.approx(problem.optimum, abs=1e-9)
    U = np.random.default_rng(0).random((300, 3))
    values = [problem.f(problem.space.decode(u)) for u in U]
    assert min(values) > problem.optimum and problem.f(problem.space.decode(np.full(3, 0.5))) > problem.optimum
    assert problem.noise == 0.0 and noisy.noise == pytest.approx(0.1 * np.std(values), rel=0.3)


def test_history_is_the_same_every_time() -> None:
    one, two, other = history(50, 3, 0), history(50, 3, 0), history(50, 3, 1)
    assert np.array_equal(one.U, two.U) and np.array_equal(one.y, two.y)
    assert not np.array_equal(one.U, other.U)
    assert np.std(one.y - [one.f(u) for u in one.U]) == pytest.approx(0.01, rel=0.5)
    long = history(5000, 3, 0)  # valued in several pieces
    assert np.std(long.y - [long.f(u) for u in long.U]) == pytest.approx(0.01, rel=0.05)


# -- runs -------------------------------------------------------------------------------------------------------------


def test_noise_is_paired_and_stays_out_of_the_value() -> None:
    ours = run("hpo_fast", "camel2_noisy", 3, 6)
    random = run("hpo_fast_random", "camel2_noisy", 3, 6)
    for a, b in zip(ours, random, strict=True):
        assert a["told"] - a["value"] == pytest.approx(b["told"] - b["value"], abs=1e-12)
        assert a["told"] != a["value"]


def test_runs_go_on_from_a_told_history() -> None:
    lines = run("hpo_fast_random", "ackley10_noisy", 3, 4, told=50)
    assert [line["number"] for line in lines] == [-1, 0, 1, 2, 3]
    columns, values, noise = before("ackley10_noisy", 50, 3)
    assert lines[0]["value"] == values.min() and np.std(noise) > 0 and len(columns) == 10
    logs = before("ellipsoid12_noisy", 20, 0)[0]
    assert min(column.min() for column in logs.values()) < 1e-3  # drawn evenly in the logarithm


def test_the_best_of_a_history_counts(tmp_path: Path) -> None:
    out = measure("hpo_fast_random", "ackley10_noisy", [0], 3, str(tmp_path), 1, told=200)
    assert out["best"]["0"]["3"] <= before("ackley10_noisy", 200, 0)[1].min()


def test_finished_seeds_are_kept(tmp_path: Path) -> None:
    first = run_seeds("hpo_fast_random", "branin2", [0], 3, str(tmp_path))
    path = tmp_path / "hpo_fast_random--branin2--0.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == first["0"] and len(lines) == 3
    path.write_text(json.dumps({**lines[0], "value": -99.0}) + "\n")
    again = run_seeds("hpo_fast_random", "branin2", [0, 1], 3, str(tmp_path))
    assert again["0"][0]["value"] == -99.0 and len(again["1"]) == 3


def test_optuna_is_asked_for_the_parameters_that_exist() -> None:
    optuna = pytest.importorskip("optuna")
    space = PROBLEMS["switch8_conditional"].space
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(10):
        params = methods.suggest(study.ask(), space)
        assert space.decode(space.encode(params)) == pytest.approx(params)


def test_a_refit_that_is_due_while_one_is_under_way_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpo_fast.strategies._refits.HALVES_FROM", 2048)  # as with twice as many observations
    loop = our_loop(2100, 2, 0, 1, "hpo_fast_exact")
    loop.timed(102, 0.0, 102)
    begins = [i for i, note in enumerate(loop.notes) if begins_refit(note)]
    ends = [i for i, note in enumerate(loop.notes) if i and "fit" in note]
    assert begins == [32, 66] and ends == [32 + 2132 // 64, 66 + 2166 // 64]  # the second was due at 64
    assert loop.refits == 2 == refits_within(2100, ends[1], exact=True)
    assert refits_within(2100, ends[1] - 1, exact=True) == 1


@pytest.mark.parametrize("n", [70, 1000, 1100])  # from 1,000 on in pieces, and after a bulk more often
def test_interval_holds_its_refits(n: int) -> None:
    loop = our_loop(n, 2, 0, 1)
    first, trials = loop.fit(0)[1], interval(n + 1)
    assert first == (before_refit(n) if n < NEAR_FROM else n) and loop.refits == 0
    loop.timed(trials, 0.0, trials)
    if n < NEAR_FROM:
        assert [i for i, note in enumerate(loop.notes) if "fit" in note] == [1]
        assert loop.fit(trials)[1] == n + 1
    else:
        begins = [i for i, note in enumerate(loop.notes) if begins_refit(note)]
        assert begins == [32, 64]
        assert [i for i, note in enumerate(loop.notes) if "fit" in note] == [0, *(i + (n + i) // 128 for i in begins)]
        assert all("nearest" in note["fit"] for note in loop.notes[1:] if "fit" in note)
        assert loop.fit(trials)[1] == n + 64
    assert loop.refits == refits_within(n, trials)
    loop.timed(1, 0.0, 1)
    assert n >= NEAR_FROM or "fit" in loop.notes[-1]
    U, y = loop.seen(3)
    assert U.shape == (n + 3, 2) and y[n:].tolist() == loop.told[:3]
    told = loop.session.study.trials[: n + 1]
    mine = sorted(float(trial.values[0]) for trial in told if trial.values is not None)
    assert mine == sorted(y[: n + 1].tolist())


def test_the_trials_that_are_graded_are_those_that_are_timed() -> None:
    timed, graded = (
        {unit.key.removesuffix("-optuna_gp"): unit.arguments["trials"] for unit in parts.part(name).units(False)}
        for name in ("tell_ask", "acquisition")
    )
    assert graded.items() <= timed.items() and graded["n1000-d20"] == interval(1001)


def test_the_long_search_climbs_what_is_scored() -> None:
    past = history(60, 20, 0)
    y = past.y.copy()
    y[7] = y.min() - 3 * y.std()  # a lucky draw, where the noise is so large
    handle = gaussian_process(past.space.layout, noise=0.5)
    handle.append(past.U, y[:, None])
    assert handle.incumbent() > 0.1 + float(np.min((y - handle.shift[0]) / handle.scale[0]))
    evaluate, U = evaluator(handle), np.random.default_rng(0).random((5, 20))
    assert np.allclose(evaluate(U, False)[0], evaluate(U, True)[0], rtol=1e-9)


# -- figures ----------------------------------------------------------------------------------------------------------


def test_normalised_regret() -> None:
    found = normalised_regret(np.array([1.0, 2.0, 3.0, 9.0, 0.999]), 1.0, 3.0)
    assert found.tolist() == [0.0, 0.5, 1.0, 2.0, 0.0]


def test_upper_bound_lies_above_the_mean_and_knows_problems_from_seeds() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0.0, 0.1, (12, 10))
    assert noise.mean() < upper_bound(noise) < noise.mean() + 0.05
    assert upper_bound(np.full((3, 4), 0.3)) == pytest.approx(0.3)
    # About the same spread, 0.1, but common to all seeds of a problem, leaves more doubt.
    common = np.repeat(np.linspace(-0.17, 0.17, 12)[:, None], 10, axis=1)
    assert upper_bound(common) > 1.5 * (upper_bound(noise) - noise.mean())


def test_a_fast_block_without_its_refit_is_no_success() -> None:
    from hpo_fast_bench.parts.tell_ask import PART

    side = {"mean": 1.0, "max": 1.0, "count": 1, "best": 0.0}
    peer = {**side, "threads": 1}
    for refits, ratio, reached in ((1, 41.0, True), (0, 41.0, False), (1, 39.0, False)):
        result = {"ours": [{**side, "refits": refits, "moved": 1}], "peer": [peer], "ratio": ratio}
        row, other = PART.rows({"n100-d5-optuna_gp": result, "n100-d5-botorch": result})
        assert row.reached is reached and row.target == ">= 40 x"
        assert other.reached is None and not other.target


def test_a_missed_target_stands_as_missed() -> None:
    rows = [
        {"figure": "speed", "cells": {"ratio": 3.14159}, "target": ">= 20 x", "reached": False},
        {"figure": "more", "cells": {"other": 2}, "target": "", "reached": None},
    ]
    where = machine.describe(2)
    document = {"title": "T", "status": "measured", "rows": rows, "units": {"one": {"environment": where}}}
    lines = report.table(document).splitlines()
    assert "MISSED" in lines[4] and "3.142" in lines[4] and "yes" not in lines[5]


def test_a_table_says_where_each_unit_comes_from() -> None:
    first = {**machine.describe(1), "date": "2026-01-01", "load_at_start": 0.1}
    later = {**first, "date": "2026-02-02", "load_at_start": 3.0}
    lines = report.origins([later, first, {**first, "threads": 2}])
    assert len(lines) == 2
    assert "1 threads" in lines[0] and lines[0].endswith("load 0.1 to 3.0, 2026-01-01 to 2026-02-02")
    assert "2 threads" in lines[1] and lines[1].endswith("load 0.1, 2026-01-01")


def test_regret_is_also_bounded_without_the_conditional_problem() -> None:
    from hpo_fast_bench.parts.regret import METHODS, PART

    results = {}
    for name, problem in PROBLEMS.items():
        for method in (*METHODS, "hpo_fast_random"):
            # Ours is much better on the conditional problem and a little worse on all others.
            above = {"hpo_fast_random": 1.0, "optuna_gp": 0.5}.get(method, 0.0 if "conditional" in name else 0.6)
            best = {str(seed): {"60": problem.optimum + above} for seed in range(3)}
            results[f"{method}--{name}"] = {"best": best}
    *_, others, overall = PART.rows(results)
    assert others.figure == "the 11 problems without conditions"
    assert others.cells["ours - peer"] == pytest.approx(0.1) == others.cells["upper 95 %"]
    assert overall.cells["ours - peer"] == pytest.approx((11 * 0.1 - 0.5) / 12)
    assert overall.reached is False and overall.target == "upper bound <= 0.02"


def test_long_fits_start_from_the_prior() -> None:
    from hpo_fast_bench.parts.fit import prior_of_logarithms

    mean, sd = prior_of_logarithms(6)
    assert mean == pytest.approx([np.sqrt(2) + 0.5 * np.log(6)] * 6 + [0.0, -4.0])
    assert sd == pytest.approx([np.sqrt(3)] * 6 + [1.0, 1.0])


# -- child processes --------------------------------------------------------------------------------------------------


def test_child_has_its_threads_and_no_tuning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OPENBLAS_L2_SIZE", "1024")
    found = child.environment(3)
    assert not set(child.UNSET) & set(found) and {found[name] for name in child.THREADS} == {"3"}
    assert os.environ["OPENBLAS_CORETYPE"] == "Haswell"
    assert child.call("hpo_fast_bench.machine:version", {"package": "numpy"}, 1) == np.__version__


def test_child_says_why_it_failed() -> None:
    with pytest.raises(child.ChildFailed, match="no_such_keyword"):
        child.call("hpo_fast_bench.machine:version", {"no_such_keyword": 1}, 1)
    with pytest.raises(child.ChildFailed, match=r"0\.01 s"):
        child.call("hpo_fast_bench.machine:version", {"package": "numpy"}, 1, timeout=0.01)


# -- the command ------------------------------------------------------------------------------------------------------


def test_parts_are_complete() -> None:
    for name in parts.NAMES:
        part = parts.part(name)
        assert part.name == name and (part.peer is None or part.peer in methods.PEERS)
        for quick in (True, False):
            keys = [unit.key for unit in part.units(quick)]
            assert len(set(keys)) == len(keys) > 0
            assert {user for unit in part.units(quick) for user in unit.uses} <= {"ours", *methods.PEERS}


def test_compare_stores_prints_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["compare", "--quick", "--parts", "fit,durability", "--threads", "1", "--out", str(tmp_path)]
    assert bench(*arguments) == 0
    printed = capsys.readouterr()
    assert "| log posterior after a refit, median of the sets" in printed.out and "branin2-n30 took" in printed.err
    document = json.loads((tmp_path / "fit.json").read_text())
    where = document["units"]["branin2-n30"]["environment"]
    assert document["status"] == "measured" and where["threads"] == 1
    assert {"cpu", "date", "load_at_start", "instruction_set", "versions"} <= set(where)
    assert "NOT ASKED FOR: import_time, noop" in printed.out
    assert bench(*arguments) == 0
    again = capsys.readouterr()
    assert "branin2-n30 is kept" in again.err and "took" not in again.err
    assert json.loads((tmp_path / "fit.json").read_text())["units"] == document["units"]
    assert bench("report", str(tmp_path)) == 0
    assert "| log posterior, branin2-n30" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("our_code", lambda: "other"),
        ("bench_code", lambda: "other"),
        ("computer", lambda: {"cpu": "other"}),
    ],
)
def test_what_a_figure_depends_on_is_measured_anew(
    name: str, value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, store = parts.part("fit"), compare.Store(tmp_path, "fit")
    unit = part.units(True)[0]
    before = store.path(unit, 1)
    assert store.path(unit, 1) == before != store.path(unit, 2)

    def changes(*arguments: Any) -> dict[str, Any]:
        monkeypatch.setattr(machine, name, value)
        return {}

    # What changes meanwhile is not kept, under either name.
    monkeypatch.setattr(compare, "call", changes)
    with pytest.raises(child.ChildFailed, match="changed while it was measured"):
        store.result(part, unit, 1)
    assert store.path(unit, 1) != before and not list(tmp_path.rglob("*.json"))


def test_the_computer_of_a_figure_is_known() -> None:
    found = machine.computer()
    assert set(found) == {"machine", "cpu", "instruction_set", "python", "numpy", "scipy"}
    assert all(found.values()) and found["numpy"] == np.__version__


def test_a_part_without_its_peer_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "noop.json").write_text('{"status": "measured"}')
    assert bench("compare", "--quick", "--parts", "noop", "--peers", "sklearn", "--out", str(tmp_path)) == 0
    assert "NOT RUN: noop (needs the peer optuna, which --peers leaves out)" in capsys.readouterr().out
    assert json.loads((tmp_path / "noop.json").read_text())["status"] == "not run"
    monkeypatch.setattr(methods, "version", {"optuna": "4.9.1", "torch": "2.13.0+cpu", "greenlet": "3.5"}.get)
    assert bench("compare", "--quick", "--parts", "tell_ask", "--out", str(tmp_path)) == 0
    said = (
        "needs optuna >= 5.0 (4.9.1 is installed), threadpoolctl >= 3.0 (not installed): "
        'pip install "optuna>=5.0" "threadpoolctl>=3.0"'
    )
    printed = capsys.readouterr().out
    assert "NOT RUN: tell_ask (" in printed and said in printed


def test_a_part_goes_on_without_a_further_peer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    part = parts.part("fit")
    ours, other = parts.part("fit").units(True)[0], parts.Unit("other", "hpo_fast_bench.no:thing", {}, ("botorch",))
    monkeypatch.setattr(parts, "part", lambda name: replace(part, units=lambda quick: [ours, other]))
    assert bench("compare", "--quick", "--parts", "fit", "--peers", "optuna", "--out", str(tmp_path)) == 0
    why = "needs the peer botorch, which --peers leaves out"
    printed = capsys.readouterr().out
    assert f"left out: other ({why})" in printed and f"LEFT OUT: fit, 1 of its measurements ({why})" in printed
    document = json.loads((tmp_path / "fit.json").read_text())
    assert document["status"] == "measured" and list(document["units"]) == [ours.key]
    # Nor does a failure of that peer take the rows of the others, unless a target needs it.
    other = replace(other, uses=("sklearn",), bare=True)
    monkeypatch.setattr(methods, "version", lambda package: "99.0")
    monkeypatch.setattr(parts, "part", lambda name: replace(part, units=lambda quick: [ours, other]))
    assert bench("compare", "--quick", "--parts", "fit", "--out", str(tmp_path)) == 0
    document = json.loads((tmp_path / "fit.json").read_text())
    assert document["status"] == "measured" and "No module named 'hpo_fast_bench.no'" in document["left_out"]["other"]
    for measured in ([other], [ours, replace(other, bare=False)]):
        monkeypatch.setattr(parts, "part", lambda name, units=measured: replace(part, units=lambda quick: units))
        assert bench("compare", "--quick", "--parts", "fit", "--out", str(tmp_path)) == 1
        assert json.loads((tmp_path / "fit.json").read_text())["status"] == "failed"
    other = replace(other, uses=("botorch",))
    monkeypatch.setattr(parts, "part", lambda name: replace(part, units=lambda quick: [other]))
    assert bench("compare", "--quick", "--parts", "fit", "--peers", "optuna", "--out", str(tmp_path)) == 0
    assert json.loads((tmp_path / "fit.json").read_text())["status"] == "not run"


def test_versions_needed_are_those_of_the_extra() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extra = dict(text.split(">=") for text in project["optional-dependencies"]["bench"])
    assert {name: (*map(int, least.split(".")), 0)[:2] for name, least in extra.items()} == methods.LEAST


def test_a_failing_part_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*arguments: Any) -> Any:
        raise child.ChildFailed("the reason")

    monkeypatch.setattr(compare, "call", broken)
    (tmp_path / "memory.json").write_text('{"status": "measured"}')
    assert bench("compare", "--quick", "--parts", "memory", "--out", str(tmp_path)) == 1
    assert "FAILED: memory (n200-d3: the reason)" in capsys.readouterr().out
    assert json.loads((tmp_path / "memory.json").read_text())["status"] == "failed"
    assert bench("report", str(tmp_path / "nothing")) == 1


@pytest.mark.parametrize("arguments", [["compare", "--parts", "speed_of_light"], ["compare", "--threads", "0"], []])
def test_wrong_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        bench(*arguments)
    assert stopped.value.code == 2


@pytest.mark.parametrize("name", ["memory", "import_time"])
def test_parts_of_ours_run(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("compare", "--quick", "--parts", name, "--out", str(tmp_path)) == 0
    assert json.loads((tmp_path / f"{name}.json").read_text())["rows"][0]["reached"] is not None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["noop", "likelihood", "posterior", "acquisition", "tell_ask", "regret"])
def test_parts_with_peers_run(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        methods.need(*parts.part(name).needs)
    except methods.MissingPeer as missing:
        pytest.skip(str(missing))
    assert bench("compare", "--quick", "--parts", name, "--out", str(tmp_path)) == 0
    document = json.loads((tmp_path / f"{name}.json").read_text())
    assert document["status"] == "measured" and document["rows"]
    if name in ("likelihood", "posterior"):  # both sides must compute the same numbers
        for row in document["rows"]:
            assert row["cells"]["difference"] < 1e-10 and row["cells"]["gradient difference"] < 1e-8


# -- the verbs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", speed.CLASSES)
def test_every_time_has_its_quality_beside_it(name: str) -> None:
    cls = speed.load(name)
    assert speed.methods(cls, "time_") and speed.methods(cls, "track_") and speed.methods(cls, "peakmem_")
    for kind in ("time_", "track_", "peakmem_"):
        measured = speed.measure(name, [12, 2], kind, 1, 1)
        assert all(np.isfinite(value) for value in measured.values()) and len(measured) >= 1


@pytest.mark.skipif(sys.platform != "linux", reason="finds the measuring process through /proc")
def test_a_measurement_ends_with_the_comparison_that_is_killed(tmp_path: Path) -> None:
    code = "from hpo_fast_bench.child import call; call('signal:pause', {}, threads=1)"
    comparison = subprocess.Popen([sys.executable, "-P", "-c", code], cwd=tmp_path)
    children = Path(f"/proc/{comparison.pid}/task/{comparison.pid}/children")
    try:
        measuring = soon(lambda: children.read_text().split())[0]
        soon(lambda: "hpo_fast_bench.child" in Path(f"/proc/{measuring}/cmdline").read_text())
    finally:
        comparison.kill()
        comparison.wait()
    soon(lambda: not Path(f"/proc/{measuring}").exists())


def soon(holds: Callable[[], T]) -> T:
    """What `holds` gives as soon as that is true; half a minute is more than any start takes."""
    deadline = time.monotonic() + 30
    while not (value := holds()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


def test_the_peer_gets_the_thread_count_that_is_faster_on_the_same_steps() -> None:
    taken: list[tuple[int, int]] = []

    def begin(count: int) -> Callable[[], float]:
        at = iter(range(100))

        def step() -> float:
            number = next(at)
            taken.append((number, count))
            return 100.0 if number == 0 else number + 0.1 * count

        return step

    seen = blocks.seconds_by_threads(begin, 2)
    assert sorted(taken) == [(number, count) for number in range(blocks.CHOOSING + 1) for count in (1, 2)]
    assert seen[2] - seen[1] == pytest.approx(0.1) and blocks.fastest(seen) == 1
    assert blocks.seconds_by_threads(begin, 1).keys() == {1}
