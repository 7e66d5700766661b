"""The parts on long histories: their rods, their bookkeeping, and each part once with a budget that proves nothing."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hpo_fast_bench import child, cli, methods, parts, rods
from hpo_fast_bench.parts import growth, limits, memory, regret_table
from hpo_fast_bench.parts.loops import before_refit, interval, our_loop, refits_within


def bench(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    return cli.run(parser.parse_args(arguments))


def measured(name: str, folder: Path) -> dict[str, Any]:
    assert bench("compare", "--quick", "--parts", name, "--out", str(folder)) == 0
    document: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    assert document["status"] == "measured" and document["rows"]
    return document


# -- rods -------------------------------------------------------------------------------------------------------------


def test_the_rod_of_the_blas_counts_two_operations_a_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rods, "_seconds", lambda step: 0.5)
    assert rods.gemm_rate(100, 1) == pytest.approx(2 * 100**3 / 0.5 / 1e9)


def test_the_rod_multiplies() -> None:
    made: list[Any] = []

    def keep(alpha: float, A: Any, B: Any, c: Any, overwrite_c: int) -> None:
        made.append((A, B, c, dgemm(alpha, A, B, c=c, overwrite_c=overwrite_c)))

    from scipy.linalg import blas

    dgemm = blas.dgemm
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blas, "dgemm", keep)
        rods.gemm(20)()
    ((A, B, C, out),) = made
    assert np.allclose(A @ B, C) and np.shares_memory(out, C)  # into the memory that was there


def test_a_faster_machine_has_more_normalised_seconds() -> None:
    assert rods.normalised(1.0, rods.REFERENCE_RATE) == 1.0
    assert rods.normalised(1.0, 2 * rods.REFERENCE_RATE) == 2.0


# -- bookkeeping ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "first", "tenth"), [(70, 64, 8), (300, 273, 31), (998, 908, 100), (999, 968, 100), (10_000, 9873, 1001)]
)
def test_the_refit_that_is_due_with_the_next_trial(n: int, first: int, tenth: int) -> None:
    assert before_refit(n) == first and interval(n + 1) == tenth


def test_refits_that_end_within_the_timed_trials() -> None:
    assert refits_within(300, 31) == 1  # the first of them fits at once
    assert [refits_within(3000, trials) for trials in (68, 69, 115, 116, 207, 208, 301)] == [1, 1, 1, 2, 2, 3, 3]
    assert refits_within(10_000, interval(10_001), exact=True) == 3 and refits_within(1_000_000, 300) == 1
    assert [refits_within(10_000, 325, exact) for exact in (False, True)] == [2, 1]
    assert [refits_within(10_000, trials, exact=True) for trials in (446, 447)] == [1, 2]  # the second one waits


def test_refits_that_moved_theta_are_counted() -> None:
    loop = our_loop(70, 2, 0, 1)
    thetas = [[0.0], None, [0.0], [1.0], None, [1.0], [0.5]]  # the first is that of the ask before the clock
    loop.notes = [{} if theta is None else {"fit": {"n": 70, "theta": theta}} for theta in thetas]
    assert (loop.refits, loop.moved) == (4, 2)
    loop.notes[0], loop._first = {}, {"fit": {"n": 64, "theta": [2.0]}}
    assert loop.moved == 3


def test_a_figure_within_its_target_counts_only_with_its_refit() -> None:
    part = parts.part("large")
    block = {"mean": 0.05, "max": 0.15, "count": 301, "rate": 90.0, "refits": 3, "moved": 1, "best": -1.0}
    for change, reached in (({}, True), ({"refits": 2}, False), ({"rate": 120.0}, False), ({"max": 0.3}, False)):
        result = {"ours": [{**block, **change}], "graded": [[1.0, "ours"]]}
        assert part.rows({"n3000-d5": result})[0].reached is reached


def test_the_points_of_every_size_are_judged_by_themselves() -> None:
    part = parts.part("large")
    block = {"mean": 0.05, "max": 0.15, "count": 301, "rate": 90.0, "refits": 1, "moved": 1, "best": -1.0}
    good, bad = ({"ours": [block], "graded": [[ratio, "ours"]]} for ratio in (1.0, 0.1))
    peer = {"peer": {"mean": 25.0, "max": 26.0, "count": 2, "best": -1.0}}
    rows = part.rows({"n3000-d5": good, "n10000-d5": bad, "n3000-d5-optuna_gp": peer})
    judged = {row.figure: row.reached for row in rows if row.figure.startswith("EI")}
    assert judged == {"EI of the asked point, n = 3000": True, "EI of the asked point, n = 10000": False}
    (beside,) = (row for row in rows if row.figure.startswith("Optuna"))
    assert beside.cells["ratio"] == pytest.approx(500) and beside.reached is None


def test_fractions_are_of_the_product_beside_them() -> None:
    part = parts.part("limits")
    sides = {"ours": [{"mean": 1.0}], "peer": [{"mean": 2.4}], "ratio": 2.4}
    (row,) = part.rows({"factor-n3000-d5": sides})  # a third of the operations in 1/2.4 of the time
    assert row.cells["fraction"] == pytest.approx(0.8) and row.target == ">= 75% of dgemm" and row.reached is True
    (row,) = part.rows({"factor-n10000-d5": sides})
    assert row.reached is False


@pytest.mark.skipif(sys.platform != "linux", reason="the peak can be forgotten on Linux alone")
def test_a_peak_can_be_forgotten() -> None:
    block = np.ones(2**23)
    del block
    before = memory.peak()
    memory.forget_peak()
    after = memory.peak()
    assert after < before - 2**25
    block = np.ones(2**23)
    assert memory.peak() > after + 2**25 and block.any()


@pytest.mark.parametrize("kind", ["factor", "gradient", "posterior"])
def test_every_limit_has_its_step_and_its_operations(kind: str) -> None:
    handle, _ = limits.model(30, 2, 1)
    limits.step_of(kind, handle, 2)()
    assert limits.operations(kind, 2000) / limits.operations(kind, 1000) == (4 if kind == "posterior" else 8)
    assert parts.part("limits").rows(
        {f"{kind}-n3000-d20": {"ours": [{"mean": 1.0}], "peer": [{"mean": 1.0}], "ratio": 1}}
    )


def test_memory_is_held_against_the_data() -> None:
    part = parts.part("million")
    block = {"mean": 0.1, "max": 0.2, "count": 300, "rate": 90.0, "best": 0.0, "refits": 1, "moved": 1}
    result = {"ours": block, "bytes": 4 * 8 * 11e6 + 1e9, "graded": [[1.0, "ours"]]}
    time, memory, quality = part.rows({"n1000000-d10": result})
    assert time.reached is True and memory.reached is True and quality.reached is True
    assert time.cells["mean s, normalised"] == pytest.approx(0.1) and time.cells["max s"] == pytest.approx(0.2)
    (time, *_) = part.rows({"n1000000-d10": {**result, "ours": {**block, "refits": 0}}})
    assert time.reached is False
    assert part.rows({"n1000000-d10": {**result, "bytes": result["bytes"] + 1e6}})[1].reached is False


def test_regret_is_in_units_of_random_search_with_the_same_history() -> None:
    def found(*above: float) -> dict[str, Any]:
        return {"best": {str(seed): {"2": value} for seed, value in enumerate(above)}}

    results = {
        "hpo_fast--levy10_noisy--40": found(0.0, 1.0),
        "optuna_tpe--levy10_noisy--40": found(2.0, 2.0),
        "hpo_fast_random--levy10_noisy--40": found(1.0, 2.0, 4.0),
    }
    sides = "hpo_fast", "optuna_tpe"
    one, some = regret_table.rows(results, *sides, ["levy10_noisy", "ackley10_noisy"], told=40, target=0.0)
    assert one.cells["ours"] == 0.25 and one.cells["peer"] == 1.0 and one.reached is None
    assert some.figure == "1 of 2 problems" and some.reached is False and some.cells["upper 95 %"] < 0
    _, all_of_them = regret_table.rows(results, *sides, ["levy10_noisy"], told=40, target=0.0)
    assert all_of_them.reached is True and all_of_them.target == "upper bound < 0"
    (_, other) = regret_table.rows(results, *reversed(sides), ["levy10_noisy"], told=40, target=0.0)
    assert other.reached is False
    assert not regret_table.rows(results, *sides, ["ackley10_noisy"], told=40)


def test_a_curve_ends_where_a_step_would_take_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def call(function: str, arguments: dict[str, Any], threads: int, timeout: float) -> dict[str, Any]:
        n = arguments["n"]
        asked.append(n)
        if n == 77:
            raise child.ChildFailed("no memory")
        return {"mean": 1e-6 * n**2, "max": 1.0, "count": 1, "bytes": 1, "n": n}

    monkeypatch.setattr(growth, "call", call)
    sizes = [10, 100, 1000, 10_000, 100_000]
    found = growth.measure("tpe", 2, sizes, 1, str(tmp_path), 1)
    assert [point["n"] for point in found["points"]] == asked == [10, 100, 1000]
    assert "n = 10000 would take about 100 s" in found["end"]
    growth.measure("tpe", 2, [*sizes[:3], 2000], 1, str(tmp_path), 1)
    assert asked == [10, 100, 1000, 2000]  # what is done is kept
    assert growth.measure("tpe", 3, [10, 77, 100], 1, str(tmp_path), 1)["end"] == "n = 77: 1 threads: no memory"


def test_of_a_peer_the_count_of_threads_that_ends_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def call(function: str, arguments: dict[str, Any], threads: int, timeout: float) -> dict[str, Any]:
        n, mean = arguments["n"], {1: 2.0, 2: 1.0}[threads]
        if n == 20 or (n == 15 and threads == 2):
            raise child.ChildFailed(f"with {threads}")
        return {"mean": 1e-3 * mean, "max": 1.0, "count": 1, "bytes": 1, "n": n, "threads": threads}

    monkeypatch.setattr(growth, "call", call)
    found = growth.measure("botorch", 2, [10, 15, 20], 1, str(tmp_path), 2)
    kept = [(point["n"], point["threads"], point["failed"]) for point in found["points"]]
    assert kept == [(10, 2, []), (15, 1, ["2 threads: with 2"])]
    assert found["end"] == "n = 20: 1 threads: with 1; 2 threads: with 2"


# -- the pictures -----------------------------------------------------------------------------------------------------


def test_pictures_are_drawn_from_stored_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    arguments = ["plot", "--stored", "--out", str(tmp_path), "--to", str(tmp_path / "docs")]
    assert bench(*arguments) == 1 and "must hold growth.json" in capsys.readouterr().out
    points = [{"n": n, "mean": 1e-3 * n, "bytes": 1e6 + n} for n in (10, 100)]
    units = {f"{method}-d{d}": {"result": {"points": points}} for method in ("hpo_fast", "optuna_gp") for d in (5, 20)}
    (tmp_path / "growth.json").write_text(json.dumps({"status": "measured", "units": units}))
    assert bench(*arguments) == 0
    first = {path.name: path.read_bytes() for path in (tmp_path / "docs").iterdir()}
    assert set(first) == {"growth-time.svg", "growth-memory.svg"} and all(b"</svg>" in text for text in first.values())
    assert bench(*arguments) == 0  # the same file, so that a commit shows what changed
    assert {path.name: path.read_bytes() for path in (tmp_path / "docs").iterdir()} == first
    (tmp_path / "growth.json").write_text(json.dumps({"status": "failed", "reason": "why", "units": {}}))
    assert bench(*arguments) == 1 and "it is failed: why" in capsys.readouterr().out


# -- the parts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["large", "million", "first_ask", "limits"])
def test_parts_of_ours_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # stored studies lie in the working directory meanwhile
    document = measured(name, tmp_path / "out")
    assert all(np.isfinite(v) for row in document["rows"] for v in row["cells"].values())
    if name == "first_ask":
        results = {key: unit["result"] for key, unit in document["units"].items()}
        assert {result["kind"] for result in results.values()} == {"model"}
        assert results["n1100-d2-under_way"]["under way"] == 1
        assert not list(tmp_path.rglob("*.db"))


def test_the_approximate_surrogate_is_held_against_the_exact_one(tmp_path: Path) -> None:
    for row in measured("vecchia", tmp_path)["rows"]:
        assert row["reached"] is True  # so few observations are all among the nearest


@pytest.mark.slow
@pytest.mark.parametrize("name", ["auto", "tpe", "further", "vecchia_further", "growth"])
def test_parts_with_peers_run(name: str, tmp_path: Path) -> None:
    part = parts.part(name)
    try:
        methods.need(*part.needs)
    except methods.MissingPeer as missing:
        pytest.skip(str(missing))
    measured(name, tmp_path)
