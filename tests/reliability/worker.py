"""Runs studies in processes that the tests kill.

The script is started once and forks a worker for each line of its standard input, so that a kill does not cost an
import. A worker may be told to kill itself at an exact point of one trial.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

import hpo_fast.storage.file_journal
from hpo_fast.space import Between, Categorical, Float, Int, Space
from hpo_fast.strategies import _refits, bayesian, make_strategy
from hpo_fast.strategies.base import Proposal, Strategy
from hpo_fast.study import Study

SPACE = Space(
    x=Float(0.0, 1.0),
    lr=Float(1e-5, 1e-1, log=True),
    layers=Int(1, 4),
    method=Categorical(["a", "b", None]),
    extra=Float(-1.0, 1.0).when(layers=Between(2, 4)),
)
LINE = Space(i=Int(0, 99))
SPACES = {"space": SPACE, "line": LINE}


class Chain(Strategy):
    """Every point hangs on every bit that was told or pending before, so that no difference stays hidden."""

    name: ClassVar[str] = "chain"

    def config(self) -> dict[str, Any]:
        return {}

    def start(self, space: Space, n_objectives: int, n_constraints: int, seed: int) -> None:
        self._space, self._hash, self._told = space, hashlib.sha256(str(seed).encode()), 0

    def tell(self, observations: Any) -> None:
        o = observations
        for i in range(len(o.numbers)):
            row = [int(o.numbers[i]), int(o.states[i]), o.U[i].tobytes().hex(), o.Y[i].tobytes().hex(), o.notes[i]]
            self._hash.update(json.dumps(row, sort_keys=True).encode())
        self._told += len(o.numbers)

    def ask(self, numbers: Any, pending: Any) -> list[Proposal]:
        proposals = []
        for number in numbers:
            h = self._hash.copy()
            h.update(f"{number} {pending.numbers.tolist()} {pending.U.tobytes().hex()} {pending.notes}".encode())
            w = np.random.default_rng(list(h.digest())).random((1, self._space.d))
            proposals.append(Proposal(self._space.from_uniform(w)[0], {"digest": h.hexdigest(), "told": self._told}))
        return proposals


class LowestFree(Strategy):
    """Takes the lowest value of `i` that nobody has: every worker that asks at once wants the same one."""

    name: ClassVar[str] = "lowest_free"
    distinct: ClassVar[bool] = True

    def config(self) -> dict[str, Any]:
        return {}

    def start(self, space: Space, n_objectives: int, n_constraints: int, seed: int) -> None:
        self._space = space
        self._used: set[int] = set()

    def tell(self, observations: Any) -> None:
        self._used.update(self._space.decode(u)["i"] for u in observations.U)

    def ask(self, numbers: Any, pending: Any) -> list[Proposal]:
        used = self._used | {self._space.decode(u)["i"] for u in pending.U}
        free = [i for i in range(100) if i not in used]
        time.sleep(0.002)  # long enough for others to ask as well
        return [Proposal(self._space.encode({"i": i})) for _, i in zip(numbers, free, strict=False)]

    @property
    def done(self) -> bool:
        return len(self._used) == 100


OWN = {"chain": Chain, "lowest_free": LowestFree}


def strategy_of(name: str) -> Strategy:
    return OWN[name]() if name in OWN else make_strategy(name)


def spread_early(change: Callable[[Any, str, Any], None] = setattr) -> None:
    """Refits are spread, and of some, from 24 observations on, and from 40 on the local model answers."""
    early = {"REFIT_ALWAYS": 12, "NEAR_FROM": 24, "NEAREST_EACH": 4, "LEAST_NEAREST": 20}
    early |= {"SPREAD_OVER": 5, "LEAST_FIRST": 2}  # before 10 % more were told
    for name, value in early.items():
        change(_refits, name, value)
    change(bayesian, "EXACT_BELOW", 40)


def objective(trial: Any) -> float:
    """Deterministic; now and then it fails, in each of the ways there are."""
    p = trial.params
    if "i" in p:
        return float(p["i"])
    if 0.40 < p["x"] < 0.45:
        raise ValueError(f"x is {p['x']}")
    if 0.60 < p["x"] < 0.65:
        return float("nan")
    return (p["x"] - 0.3) ** 2 + abs(np.log10(p["lr"]) + 3) + p["layers"] * p.get("extra", 0.5) + (p["method"] == "a")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def doom(at: str, victim: int) -> None:
    """Arrange for this process to die at one point of the trial `victim`."""
    journal = hpo_fast.storage.file_journal.FileJournal
    reserve, write, finish = journal.reserve, journal.write, journal.finish

    def dying_reserve(self: Any, *args: Any) -> Any:
        rows, numbers = reserve(self, *args)
        if at == "reserved" and victim in numbers:
            die()
        return rows, numbers

    def dying_write(self: Any, chosen: Any, *args: Any) -> Any:
        answer = write(self, chosen, *args)
        if at == "written" and any(one.number == victim for one in chosen):
            die()
        return answer

    def dying_finish(self: Any, number: int, result: Any) -> None:
        if at == "run" and number == victim:
            die()
        finish(self, number, result)
        if at == "told" and number == victim:
            die()

    journal.reserve, journal.write, journal.finish = dying_reserve, dying_write, dying_finish  # type: ignore[method-assign]


def work(job: dict[str, Any]) -> None:
    def acknowledge(study: Study, record: Any) -> None:
        with open(job["log"], "a") as file:
            file.write(json.dumps([record.number, record.values, os.getpid()]) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def run(trial: Any) -> float:
        if "started" in job:
            with open(job["started"], "a") as file:
                file.write(f"{trial.number}\n")
        time.sleep(job.get("sleep", 0.0))
        if job.get("at") == "objective" and trial.number == job["victim"]:
            die()
        return objective(trial)

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background ignores it
    if job.get("early"):
        spread_early()
    if "at" in job:
        doom(job["at"], job["victim"])
    study = Study(
        SPACES[job.get("space", "space")],
        strategy_of(job["strategy"]),
        storage=job["storage"],
        seed=job.get("seed"),
        durability=job.get("durability", "power"),
    )
    study.optimize(
        run,
        total_trials=job["total"],
        callbacks=[acknowledge] if "log" in job else [],
        max_attempts=job.get("max_attempts", 2),
    )


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            _, status = os.waitpid(order["wait"], 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
            continue
        if order["strategy"] == "quasi_random":
            import scipy.stats  # noqa: F401 - it takes a second, which every worker would pay otherwise
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                work(order)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
