"""Conditions: how they are written, and what they mean for a space as a whole."""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo_fast.errors import SpaceError
from hpo_fast.space.codes import Scale
from hpo_fast.space.points import Choices
from hpo_fast.space.values import json_copy, json_key

Spans = tuple[tuple[float, float], ...]  # disjoint closed intervals of a code, ascending


@dataclass(frozen=True, slots=True)
class Between:
    """Hold in a condition when the parent's value lies in [low, high], both ends included.

    A value of a continuous parent counts as the end from which only the rounding of its code separates it (1e-12 of the
    parent's scale at most).

    Args:
        low: lowest value; for an Ordinal parent, the first choice that counts.
        high: highest value; for an Ordinal parent, the last choice that counts.

    Raises:
        SpaceError: low is above high, or an end is not a JSON value.
    """

    low: Any
    high: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", json_copy(self.low, "Between(low)"))
        object.__setattr__(self, "high", json_copy(self.high, "Between(high)"))
        if isinstance(self.low, (int, float)) and isinstance(self.high, (int, float)) and self.low > self.high:
            raise SpaceError(f"Between: low <= high must hold, but got {self.low!r}, {self.high!r}; swap them.")

    def __repr__(self) -> str:
        return f"Between({self.low!r}, {self.high!r})"


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """One condition of a parameter: the parent exists and has one of the allowed values.

    Attributes:
        parent: name of the parameter looked at.
        allowed: values, or Between objects.
    """

    parent: str
    allowed: tuple[Any, ...]

    def to_json(self) -> dict[str, Any]:
        """Give the condition as a JSON object."""
        return {
            "parent": self.parent,
            "any": [
                {"between": [v.low, v.high]} if isinstance(v, Between) else {"value": json_copy(v, "")}
                for v in self.allowed
            ],
        }

    @classmethod
    def from_json(cls, obj: dict[str, Any]) -> Condition:
        """Rebuild a condition that to_json gave."""
        return cls(obj["parent"], tuple(Between(*v["between"]) if "between" in v else v["value"] for v in obj["any"]))


def written(conditions: Sequence[Condition]) -> str:
    """Give conditions as the user writes them: '.when(optimizer="sgd", layers=Between(2, 5))'."""
    parts = []
    for condition in conditions:
        one = len(condition.allowed) == 1 and not isinstance(condition.allowed[0], list)
        parts.append((condition.parent, repr(condition.allowed[0] if one else list(condition.allowed))))
    if len(dict(parts)) == len(parts) and all(name.isidentifier() and not keyword.iskeyword(name) for name, _ in parts):
        return f".when({', '.join(f'{name}={value}' for name, value in parts)})" if parts else ""
    return "".join(f".when({{{name!r}: {value}}})" for name, value in parts)


def parents_first(conditions: Mapping[str, Sequence[Condition]], labels: Sequence[str]) -> list[int]:
    """Order parameters parents before children, else as declared.

    Args:
        conditions: name -> conditions, in order of declaration.
        labels: how errors call the parameters.

    Returns:
        Positions in order of declaration.

    Raises:
        SpaceError: a parent is unknown, or the conditions form a cycle.
    """
    column = {name: j for j, name in enumerate(conditions)}
    waiting = {}
    for child, own in enumerate(conditions.values()):
        for condition in own:
            if condition.parent not in column:
                raise SpaceError(
                    f"{labels[child]}{written([condition])}: the parent must be a parameter of the same space, "
                    f"but got {condition.parent!r}; the space has {few(column)}."
                )
        waiting[child] = {column[condition.parent] for condition in own}
    order: dict[int, None] = {}  # an ordered set
    while waiting:
        ready = [child for child, parents in waiting.items() if parents <= order.keys()]
        if not ready:
            names = list(conditions)
            path = [next(iter(waiting))]
            while path[-1] not in path[:-1]:
                path.append(min(parent for parent in waiting[path[-1]] if parent in waiting))
            cycle = " -> ".join(names[j] for j in path[path.index(path[-1]) :])
            raise SpaceError(f"Space: conditions must not form a cycle, but got {cycle}; remove one.")
        for child in ready:
            order[child] = None
            del waiting[child]
    return list(order)


def lowered(condition: Condition, scale: Scale, label: str) -> Spans:
    """Turn a condition into intervals of its parent's code.

    Args:
        condition: the condition.
        scale: the parent's scale.
        label: how errors call child, condition and parent.

    Raises:
        SpaceError: the parent cannot have one of the values.
    """
    spans = []
    for value in condition.allowed:
        try:
            if isinstance(value, Between):
                spans.append(scale.between(value.low, value.high, label))
            else:
                spans.append(scale.cell(value, label))
        except SpaceError as error:
            whole = list(condition.allowed)
            if isinstance(scale, Choices) and json_key(whole) in scale.table:
                raise SpaceError(f"{error} A choice that is itself a list is written [{whole!r}].") from None
            raise
    return merged(spans)


def check_possible(
    order: Sequence[int],
    conditions: Sequence[Sequence[tuple[int, Spans]]],
    scales: Sequence[Scale],
    labels: Sequence[str],
) -> None:
    """Refuse a parameter that no point of the space can have.

    All that must hold for a parameter to exist is a conjunction over it and its ancestors, and the values of different
    parameters are free of each other: it is possible just when, parent by parent, the intervals meet.

    Raises:
        SpaceError: the conditions of a parameter and of its ancestors exclude each other.
    """
    needed: dict[int, dict[int, Spans]] = {}
    for child in order:
        own: dict[int, Spans] = {}
        for parent, spans in conditions[child]:
            for j, needs in (*needed[parent].items(), (parent, spans)):
                own[j] = common(own[j], needs, scales[j].size) if j in own else needs
                if not own[j]:
                    raise SpaceError(
                        f"{labels[child]}: its conditions and those of its parents must be possible together, "
                        f"but no value of {labels[j]} meets them all; relax one."
                    )
        needed[child] = own


def merged(spans: Iterable[tuple[float, float]]) -> Spans:
    """Join intervals that overlap or touch."""
    merged: list[tuple[float, float]] = []
    for lo, hi in sorted(spans):
        if merged and lo <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(hi, merged[-1][1]))
        else:
            merged.append((lo, hi))
    return tuple(merged)


def common(one: Spans, other: Spans, size: int) -> Spans:
    """Intersect two sets of intervals of a code; a mere edge between two of `size` cells holds no point."""
    common = []
    for a, b in one:
        for c, d in other:
            lo, hi = max(a, c), min(b, d)
            if lo < hi or (lo == hi and size == 0):
                common.append((lo, hi))
    return merged(common)


def few(names: Iterable[str]) -> str:
    """List names for an error, the first ten of many."""
    several = list(names)
    return ", ".join(map(repr, several[:10])) + (f", ... ({len(several)} in all)" if len(several) > 10 else "")
