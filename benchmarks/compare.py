"""`hpo-fast bench compare`: every figure that must be reached, against each installed peer, in one run.

Units run one by one, each in a child process, and are kept: a stopped comparison goes on where it was. A kept result
counts for the same code of ours and of the benchmarks, versions, processor, arguments and threads only.
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
from hpo_fast_bench.methods import PACKAGES, MissingPeer, need
from hpo_fast_bench.parts import Part, Unit
from hpo_fast_bench.report import table


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
            "bench": machine.bench_code(),
            "computer": machine.computer(),
        }
        for user in unit.uses:
            if user == "ours":
                depends["ours"] = machine.our_code()
            else:
                depends[user] = [machine.version(name) for name in PACKAGES[user]]
        digest = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:12]
        return self._folder / f"{unit.key}-{digest}.json"

    def result(self, part: Part, unit: Unit, threads: int) -> dict[str, Any]:
        """The kept result, or a new one, with its seconds, and the machine and its load before it."""
        path = self.path(unit, threads)
        if path.exists():
            found: dict[str, Any] = json.loads(path.read_text())
            say(f"{part.name}: {unit.key} is kept from {found['environment']['date']}")
            return found
        say(f"{part.name}: {unit.key} ...")
        path.parent.mkdir(parents=True, exist_ok=True)
        arguments = {**unit.arguments, "threads": threads}
        if unit.scratch:
            arguments["scratch"] = str(path.with_suffix("").resolve())
        environment = machine.describe(threads)
        began = time.perf_counter()
        result = call(unit.function, arguments, threads, unit.timeout)
        seconds = time.perf_counter() - began
        if self.path(unit, threads) != path:
            raise ChildFailed("what it depends on, code or versions, changed while it was measured")
        kept = {"result": result, "seconds": round(seconds, 1), "environment": environment}
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
        What stands in the part's file, whichever came of it, so that no older file keeps standing: status "measured",
        "not run" or "failed", rows, units with where each comes from.
    """
    document: dict[str, Any] = {"part": part.name, "title": part.title, "note": part.note, "quick": quick}
    try:
        if part.peer is not None:
            asked_for(part.peer, peers)
        need(*part.needs)
    except MissingPeer as missing:
        document |= {"status": "not run", "reason": str(missing), "rows": [], "units": {}}
    else:
        document |= _measured(part, Store(folder, part.name), threads, quick, peers)
    write(folder / f"{part.name}.json", document)
    print(table(document), flush=True)
    return document


def asked_for(peer: str, peers: Sequence[str]) -> None:
    """Raises MissingPeer where --peers leaves it out."""
    if peer not in peers:
        raise MissingPeer(f"needs the peer {peer}, which --peers leaves out")


def further(part: Part, unit: Unit) -> list[str]:
    """Peers of a unit besides its part's own."""
    return [user for user in unit.uses if user not in ("ours", part.peer)]


def left_out(part: Part, unit: Unit, peers: Sequence[str]) -> str:
    """Why a unit with a further peer cannot be measured; empty: it can."""
    try:
        for user in further(part, unit):
            asked_for(user, peers)
            need(*PACKAGES[user])
    except MissingPeer as missing:
        return str(missing)
    return ""


def _measured(part: Part, store: Store, threads: int, quick: bool, peers: Sequence[str]) -> dict[str, Any]:
    units = part.units(quick)
    results: dict[str, Any] = {}
    failures: list[str] = []
    without = {unit.key: why for unit in units if (why := left_out(part, unit, peers))}
    units = [unit for unit in units if unit.key not in without]
    if not units:
        return {"status": "not run", "reason": "; ".join(sorted(set(without.values()))), "rows": [], "units": {}}

    def one(unit: Unit) -> None:
        try:
            results[unit.key] = store.result(part, unit, unit.threads or threads)
        except ChildFailed as failed:
            say(f"{part.name}: {unit.key} FAILED: {failed}")
            if unit.bare:  # what a peer of no target cannot do must not take the others' rows
                without[unit.key] = f"failed: {str(failed).splitlines()[-1]}"
            else:
                failures.append(f"{unit.key}: {failed}")

    with ThreadPoolExecutor(min(part.parallel, machine.cores())) as pool:
        for future in [pool.submit(one, unit) for unit in units]:
            future.result()
    if failures:
        return {"status": "failed", "reason": "\n".join(failures), "rows": [], "units": results, "left_out": without}
    if not results:
        return {"status": "failed", "reason": "; ".join(without.values()), "rows": [], "units": {}}
    ordered: Mapping[str, Any] = {unit.key: results[unit.key] for unit in units if unit.key in results}
    rows = [asdict(row) for row in part.rows({key: kept["result"] for key, kept in ordered.items()})]
    return {"status": "measured", "rows": rows, "units": ordered, "left_out": without}


def summary(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """How many targets were reached, and by name what was missed, failed, was not run or not asked for."""
    targets = [row for document in documents for row in document["rows"] if row["reached"] is not None]
    missed = [row["figure"] for row in targets if not row["reached"]]
    lines = [
        f"{len(targets) - len(missed)} of {len(targets)} measured targets reached",
        *(f"MISSED: {m}" for m in missed),
    ]
    for status in ("failed", "not run"):
        lines += [f"{status.upper()}: {d['part']} ({d['reason']})" for d in documents if d["status"] == status]
    for document in documents:
        for why in sorted(set(document.get("left_out", {}).values())):
            count = sum(other == why for other in document["left_out"].values())
            lines.append(f"LEFT OUT: {document['part']}, {count} of its measurements ({why})")
    others = [name for name in parts.NAMES if name not in {document["part"] for document in documents}]
    return [*lines, f"NOT ASKED FOR: {', '.join(others)}"] if others else lines


def compare(folder: Path, names: Sequence[str], peers: Sequence[str], threads: int, quick: bool) -> int:
    """Runs the parts in turn.

    Returns:
        0, or 1 when a part failed; a target that is missed is a result, and no failure.
    """
    if quick:
        say("--quick: budgets for tests; the figures prove nothing")
    documents = [run_part(parts.part(name), folder, threads, quick, peers) for name in names]
    print("\n".join(summary(documents)))
    return int(any(document["status"] == "failed" for document in documents))
