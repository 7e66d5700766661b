"""Results as tables; measuring and printing are different programs, joined by the JSON files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def number(value: Any) -> str:
    """Four significant digits, or the text itself."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or 100 <= abs(value) < 1e6:
        return f"{value:.0f}" if abs(value) >= 1000 or isinstance(value, int) else f"{value:.1f}"
    return f"{value:.4g}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns are also aligned on a screen."""
    table = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[j]) for row in table) for j in range(len(header))]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in table]
    lines.insert(1, "| " + " | ".join("-" * w for w in widths) + " |")
    return "\n".join(lines)


def table(document: Mapping[str, Any]) -> str:
    """One part, as it is printed and as a reader finds it again from its file."""
    lines = [f"\n## {document['title']}" + (" (quick: no evidence)" if document.get("quick") else "")]
    if document["status"] != "measured":
        return "\n".join([*lines, f"{document['status']}: {document['reason']}"])
    rows = document["rows"]
    columns = list(dict.fromkeys(name for row in rows for name in row["cells"]))
    verdict = {True: "yes", False: "MISSED", None: ""}
    cells = [
        [row["figure"], *(number(row["cells"].get(c, "")) for c in columns), row["target"], verdict[row["reached"]]]
        for row in rows
    ]
    lines.append(markdown(["figure", *columns, "target", "reached"], cells))
    lines += [f"left out: {key} ({why})" for key, why in document.get("left_out", {}).items()]
    if document.get("note"):
        lines.append(document["note"])
    # The verb `speed` keeps no units: all of it comes from one machine and one run.
    units = document.get("units", {"": document})
    return "\n".join([*lines, *origins([unit["environment"] for unit in units.values()])])


def origins(environments: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each machine, threads and versions among the measurements, with their loads and dates."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for where in environments:
        versions = ", ".join(f"{name} {v}" for name, v in where["versions"].items())
        text = (
            f"{where['cpu']}, {where['cores']} cores, {where['threads']} threads, {where['instruction_set']}, "
            f"Python {where['python']}, {versions}"
        )
        groups.setdefault(text, []).append(where)
    return [
        f"{text}, load {_span(w['load_at_start'] for w in group)}, {_span(w['date'] for w in group)}"
        for text, group in groups.items()
    ]


def _span(values: Iterable[Any]) -> str:
    found = sorted(set(values))
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"


def report(folder: Path) -> int:
    """Prints the tables of all parts stored in a folder.

    Returns:
        0, or 1 when there is none.
    """
    documents = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    documents = [document for document in documents if "part" in document]
    for document in documents:
        print(table(document))
    if not documents:
        print(f"{folder} holds no results; run `hpo-fast bench compare --out {folder}` first")
    return int(not documents)
