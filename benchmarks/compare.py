"""`hpo-fast bench compare`: every figure that must be reached, against each installed peer, in one run.

Units run one by one, each in a child process, and are kept: a stopped comparison goes on where it was. A kept result
counts for the same code of ours, versions of the peer, arguments and threads only.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hpo_fast_bench import machine, parts
from hpo_fast_bench.child import ChildFailed, call
from hpo_fast_bench.methods import MissingPeer, need
from hpo_fast_bench.parts import Part, Unit
from hpo_fast_bench.report import table

PEERS = ("optuna", "sklearn")
_PACKAGES = {"optuna": ("optuna", "torch", "greenlet", "numpy", "scipy"), "sklearn": ("scikit-learn", "numpy", "scipy")}


def say(text: str) -> None:
    """Progress goes to standard error, the tables to standard output."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


class Store:
    """Results of finished units, one file each, under a folder.

    Args:
        folder: of the whole comparison.
        part: the part's name.
    """

    def __init__(self, folder: Path, part: str) -> None:
        self._folder = folder / "units" / part

    def path(self, unit: Unit, threads: int) -> Path:
        """Where the unit's result is, or will be: the name tells what it depends on."""
        depends: dict[str, Any] = {
            "function": unit.function,
            "arguments": unit.arguments,
            "threads": threads,
            "bench": machine.bench_code(unit.function.partition(":")[0].rpartition(".")[2]),
        }
        for user in unit.uses:
            if user == "ours":
                depends["ours"] = machine.our_code()
            else:
                depends[user] = [machine.version(name) for name in _PACKAGES[user]]
        digest = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:12]
        return self._folder / f"{unit.key}-{digest}.json"

    def result(self, part: Part, unit: Unit, threads: int) -> dict[str, Any]:
        """The kept result, or a new one, with its threads, seconds, the machine's load before it, and its end."""
        path = self.path(unit, threads)
        if path.exists():
            found: dict[str, Any] = json.loads(path.read_text())
            say(f"{part.name}: {unit.key} is kept from {found['ended']}")
            return found
        say(f"{part.name}: {unit.key} ...")
        path.parent.mkdir(parents=True, exist_ok=True)
        arguments = {**unit.arguments, "threads": threads}
        if unit.scratch:
            arguments["scratch"] = str(path.with_suffix("").resolve())
        began, load = time.perf_counter(), round(os.getloadavg()[0], 2)
        result = call(unit.function, arguments, threads, unit.timeout)
        seconds = time.perf_counter() - began
        kept = {
            "result": result,
            "threads": threads,
            "seconds": round(seconds, 1),
            "load_at_start": load,
            "ended": time.strftime("%Y-%m-%dT%H:%M:%S"),
        }
        write(path, kept)
        say(f"{part.name}: {unit.key} took {seconds:.1f} s")
        return kept


def write(path: Path, obj: Any) -> None:
    """Writes JSON so that the file is there as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(obj, indent=1) + "\n")
    os.replace(part, path)


def run_part(part: Part, folder: Path, threads: int, quick: bool, peers: Sequence[str]) -> dict[str, Any]:
    """Measures one part, stores and prints its table.

    Returns:
        What stands in the part's file: status "measured", "not run" or "failed", rows, units, where from.
    """
    document: dict[str, Any] = {"part": part.name, "title": part.title, "note": part.note, "quick": quick}
    document["environment"] = machine.describe(threads)
    try:
        if part.peer is not None and part.peer not in peers:
            raise MissingPeer(f"needs the peer {part.peer}, which --peers leaves out")
        need(*part.needs)
    except MissingPeer as missing:
        document |= {"status": "not run", "reason": str(missing), "rows": []}
    else:
        document |= _measured(part, Store(folder, part.name), threads, quick)
        write(folder / f"{part.name}.json", document)
    print(table(document), flush=True)
    return document


def _measured(part: Part, store: Store, threads: int, quick: bool) -> dict[str, Any]:
    units = part.units(quick)
    results: dict[str, Any] = {}
    failures: list[str] = []

    def one(unit: Unit) -> None:
        try:
            results[unit.key] = store.result(part, unit, unit.threads or threads)
        except ChildFailed as failed:
            failures.append(f"{unit.key}: {failed}")
            say(f"{part.name}: {unit.key} FAILED: {failed}")

    with ThreadPoolExecutor(min(part.parallel, machine.cores())) as pool:
        for future in [pool.submit(one, unit) for unit in units]:
            future.result()
    if failures:
        return {"status": "failed", "reason": "\n".join(failures), "rows": [], "units": results}
    ordered: Mapping[str, Any] = {unit.key: results[unit.key] for unit in units}
    rows = [asdict(row) for row in part.rows({key: kept["result"] for key, kept in ordered.items()})]
    return {"status": "measured", "rows": rows, "units": ordered}


def compare(folder: Path, names: Sequence[str], peers: Sequence[str], threads: int, quick: bool) -> int:
    """Runs the parts in turn.

    Returns:
        0, or 1 when a part failed; a target that is missed is a result, and no failure.
    """
    if quick:
        say("--quick: budgets for tests; the figures prove nothing")
    documents = [run_part(parts.part(name), folder, threads, quick, peers) for name in names]
    targets = [row for document in documents for row in document["rows"] if row["reached"] is not None]
    missed = [row["figure"] for row in targets if not row["reached"]]
    print(f"{len(targets) - len(missed)} of {len(targets)} targets reached" + "".join(f"\nMISSED: {m}" for m in missed))
    return int(any(document["status"] == "failed" for document in documents))
