"""The search space: what a user declares, the codes that strategies work on, the arrays that backends see."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpo_fast.errors import SpaceError
from hpo_fast.space.codes import Scale, each
from hpo_fast.space.columns import FEW_ROWS, Column, as_columns, chunks, own_columns, packed
from hpo_fast.space.conditions import Between, Condition, Spans, check_possible, few, lowered, parents_first, written
from hpo_fast.space.layout import CATEGORICAL, CONTINUOUS, ORDERED, Layout, make_layout
from hpo_fast.space.parameters import (
    Categorical,
    Constant,
    Float,
    Int,
    Ordinal,
    Parameter,
    parameter_from_json,
)
from hpo_fast.space.priors import Normal
from hpo_fast.space.values import json_key, plain

__all__ = [
    "CATEGORICAL",
    "CONTINUOUS",
    "ORDERED",
    "Between",
    "Categorical",
    "Condition",
    "Constant",
    "Float",
    "Int",
    "Layout",
    "Normal",
    "Ordinal",
    "Parameter",
    "Space",
]

Floats = NDArray[np.float64]

_FORMAT = 1
_MISSING = object()


class Space(Mapping[str, Parameter]):
    """Declare the parameters of a study; a read-only mapping name -> parameter.

    Args:
        mapping: name -> parameter; for names that are no Python identifiers.
        params: the same as keywords; both may be given.

    Raises:
        SpaceError: no parameter at all, a value that is none, a name given twice or not a str, or a condition with an
            unknown parent, a cycle, or a value that the parent cannot have.

    Attributes:
        names: the parameters' names in order of declaration.
        d: number of code columns.
        layout: the space as plain arrays.
    """

    def __init__(self, mapping: Mapping[str, Parameter] | None = None, /, **params: Parameter) -> None:
        given = {**(mapping or {}), **params}
        if len(given) < len(mapping or ()) + len(params):
            twice = next(name for name in params if name in (mapping or {}))
            raise SpaceError(f"Space: a name must be given once, but got {twice!r} twice; rename one.")
        if not given:
            raise SpaceError("Space: at least one parameter must be given, but got none; write Space(x=Float(0, 1)).")
        for name, parameter in given.items():
            if not isinstance(name, str):
                raise SpaceError(f"Space: a name must be a str, but got {name!r}; write it as one.")
            if not isinstance(parameter, Parameter):
                raise SpaceError(
                    f"Space: {name!r} must be a parameter, but got {parameter!r}; "
                    f"use Float, Int, Categorical, Ordinal or Constant."
                )
        self._parameters: dict[str, Parameter] = given
        self.names: tuple[str, ...] = tuple(given)
        self.d = len(given)
        self._labels = tuple(f'{type(p).__name__}("{name}")' for name, p in given.items())
        self._scales: tuple[Scale, ...] = tuple(p.scale for p in given.values())
        self._order = parents_first({name: p.conditions for name, p in given.items()}, self._labels)
        column = {name: j for j, name in enumerate(self.names)}
        conditions: list[list[tuple[int, Spans]]] = [[] for _ in given]
        for child, parameter in enumerate(given.values()):
            for condition in parameter.conditions:
                j = column[condition.parent]
                label = f"{self._labels[child]}{written([condition])}: {self._labels[j]}"
                conditions[child].append((j, lowered(condition, self._scales[j], label)))
        check_possible(self._order, conditions, self._scales, self._labels)
        self._conditions = conditions
        self._plain = not any(conditions)
        parents = {parent for own in conditions for parent, _ in own}
        # A continuous parent's code settles before a condition reads it; the code of any other is its index already.
        self._is_parent = tuple(j in parents for j in range(self.d))
        self._readers = tuple(zip(self.names, [scale.value for scale in self._scales], strict=True))
        self._writers = tuple(zip(self.names, [s.code for s in self._scales], self._labels, strict=True))
        self._snaps = tuple(scale.snap for scale in self._scales)
        self._cuts = tuple((j, scale.cut) for j, scale in enumerate(self._scales) if scale.cut is not None)
        self.layout = make_layout(self._scales, self._order, conditions)

    # ---- a mapping, a text, a document ------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Parameter:
        return self._parameters[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return self.d

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and json_key(self.to_json()) == json_key(other.to_json())

    def __hash__(self) -> int:
        return hash(json_key(self.to_json()))

    def __reduce__(self) -> tuple[Any, ...]:
        return Space.from_json, (self.to_json(),)

    def __repr__(self) -> str:
        if all(name.isidentifier() for name in self.names):
            return "Space(\n" + "".join(f"    {name}={p!r},\n" for name, p in self.items()) + ")"
        return "Space({\n" + "".join(f"    {name!r}: {p!r},\n" for name, p in self.items()) + "})"

    def to_json(self) -> dict[str, Any]:
        """Give the space as a JSON object, from which from_json makes an equal one."""
        return {"format": _FORMAT, "parameters": [{"name": name, **p.to_json()} for name, p in self.items()]}

    @classmethod
    def from_json(cls, obj: Mapping[str, Any]) -> Space:
        """Rebuild a space that to_json gave.

        Raises:
            SpaceError: the object is not such a space, or one of a newer format.
        """
        try:
            if obj["format"] > _FORMAT:
                raise SpaceError(
                    f"Space.from_json: the format must be at most {_FORMAT}, but got {obj['format']}; upgrade hpo_fast."
                )
            parameters = [(p["name"], parameter_from_json(p)) for p in obj["parameters"]]
        except (KeyError, TypeError, AttributeError) as error:
            raise SpaceError(
                f"Space.from_json: the object must be one that to_json made, but got {type(error).__name__}: {error}; "
                f"check where it comes from."
            ) from error
        if len(dict(parameters)) < len(parameters):
            raise SpaceError("Space.from_json: a name must be given once, but one comes twice; rename it.")
        return cls(dict(parameters))

    # ---- one point --------------------------------------------------------------------------------------------------

    def decode(self, u: ArrayLike) -> dict[str, Any]:
        """Turn a unit-cube point into the parameters that exist there, in order of declaration.

        Args:
            u: (d,) codes in [0, 1]; whatever stands in the column of a parameter that does not exist is ignored.

        Returns:
            Plain Python values: float, int, or a choice (lists and dicts as copies).

        Raises:
            SpaceError: wrong shape, or the code of an existing parameter is NaN or outside [0, 1].

        Cost:
            O(d + t), about 0.3 us a parameter.
        """
        row = self._row(u)
        if not self._plain:
            return self._decode_conditional(row)
        self._check_row(row)
        return {name: value(c) for (name, value), c in zip(self._readers, row, strict=True)}

    def _decode_conditional(self, row: list[float]) -> dict[str, Any]:
        codes = row.copy()
        for j in self._order:
            if not self._holds(j, codes):
                codes[j] = math.nan
            elif not 0.0 <= row[j] <= 1.0:
                raise self._bad_code(j, row[j])
            elif self._is_parent[j]:
                codes[j] = self._snaps[j](row[j])
        return {name: value(row[j]) for j, (name, value) in enumerate(self._readers) if codes[j] == codes[j]}

    def encode(self, params: Mapping[str, Any]) -> Floats:
        """Turn parameters into a unit-cube point.

        Args:
            params: name -> value, with exactly the parameters that exist; NumPy scalars are welcome.

        Returns:
            (d,) codes in [0, 1]; NaN for a parameter that does not exist.

        Raises:
            SpaceError: a parameter is missing, unknown, or should not exist; a value is out of range or off the grid.

        Cost:
            O(d + t), about 0.5 us a parameter.
        """
        return np.array(self._encode_row(params, ""))

    def _encode_row(self, params: Mapping[str, Any], where: str) -> list[float]:
        if not isinstance(params, Mapping):
            raise SpaceError(f"params{where} must be a dict name -> value, but got {params!r}; give one.")
        codes = [math.nan] * self.d
        used = 0
        for j in self._order:
            name, code, label = self._writers[j]
            if self._plain or self._holds(j, codes):
                value = params.get(name, _MISSING)
                if value is _MISSING:
                    raise SpaceError(f"{label}{where}: the parameter must be given here, but is missing; add it.")
                codes[j] = code(value, label + where)
                used += 1
        if used != len(params):
            raise self._superfluous(params, codes, where)
        return codes

    def code(self, name: str, value: Any) -> float:
        """Give the code of one parameter's value, its conditions aside.

        Raises:
            SpaceError: the parameter is unknown, or does not have the value.
        """
        if name not in self._parameters:
            raise SpaceError(
                f"Space.code: name must be one of {few(self.names)}, but got {name!r}; check its spelling."
            )
        _, code, label = self._writers[self.names.index(name)]
        return float(code(value, label))

    def _holds(self, j: int, codes: list[float]) -> bool:
        for parent, spans in self._conditions[j]:
            c = codes[parent]  # NaN, which lies in no interval, where the parent does not exist
            for lo, hi in spans:
                if lo <= c <= hi:
                    break
            else:
                return False
        return True

    # ---- many points ------------------------------------------------------------------------------------------------

    def encode_many(self, params: Iterable[Mapping[str, Any]] | Mapping[str, Any]) -> Floats:
        """Turn many parameter sets into unit-cube points, with the same bits as encode.

        Args:
            params: an iterable of dicts, gone through once, or columns: a mapping name -> m values. In columns, None,
                NaN, pandas' NA or a mask stands where the parameter does not exist; a column without any existing value
                may be left out.

        Returns:
            (m, d) codes; NaN for a parameter that does not exist.

        Raises:
            SpaceError: as encode does, naming the row; columns of unequal length.

        Cost:
            O(m (d + t)); in columns of numbers about 0.02 us an element, and 0.2 us in a logarithmic one; in dicts
            0.1 to 0.2 us more.
        """
        if not hasattr(params, "keys"):
            parts = [self.encode_rows(rows, first)[0] for first, rows in chunks(params)]
            return np.concatenate(parts) if parts else np.empty((0, self.d))
        return self.encode_columns(own_columns(params))

    def encode_rows(self, rows: Sequence[dict[str, Any]], first: int = 0) -> tuple[Floats, dict[str, Column] | None]:
        """Do encode_many for some of the rows.

        Args:
            rows: m dicts.
            first: the position of the first row, for errors.

        Returns:
            The codes, and the rows as columns, with None where a row lacks a value; no columns where the rows are few.
        """
        columns = None
        if len(rows) > FEW_ROWS:
            columns, there = as_columns(self.names, rows)
            if np.count_nonzero(there) == sum(map(len, rows)):  # else a name is unknown
                try:
                    codes = self.encode_columns(columns)
                except SpaceError:
                    pass
                else:
                    if np.array_equal(np.isnan(codes), ~there):
                        return codes, columns
        # Few rows, or something wrong among them: this says what, and in which row.
        found = [self._encode_row(row, f", row {first + i}") for i, row in enumerate(rows)]
        return np.array(found, dtype=np.float64).reshape(len(rows), self.d), columns

    def encode_columns(self, columns: Mapping[str, Column]) -> Floats:
        """Do encode_many for columns that `columns.own_columns` made."""
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) != 1:
            raise SpaceError(f"columns must have one length, but got {lengths}; fill the gaps with None.")
        unknown = [name for name in columns if name not in self._parameters]
        if unknown:
            raise self._unknown(unknown[0], "")
        codes = np.full((next(iter(lengths.values())), self.d), math.nan)
        for j in self._order:
            codes[:, j] = self._encode_column(j, columns.get(self.names[j]), codes)
        return codes

    def _encode_column(self, j: int, given: Column | None, codes: Floats) -> Floats:
        _, code, label = self._writers[j]
        exists = self._hold(j, codes)
        rows = np.flatnonzero(exists)
        if given is None:
            if rows.size:
                raise SpaceError(f"{label}, row {rows[0]}: the parameter must be given here, but is missing; add it.")
            return codes[:, j]
        if rows.size < len(given):
            if isinstance(given, np.ndarray):
                wrong = np.flatnonzero(~exists & (given == given)).tolist()
            else:
                absent = np.flatnonzero(~exists).tolist()
                wrong = [i for i in absent if given[i] is not None and not _is_nan(given[i])]
            if wrong:
                raise self._not_here(j, f", row {wrong[0]}", plain(given[wrong[0]]))
            values = given[rows] if isinstance(given, np.ndarray) else packed([given[i] for i in rows.tolist()])
        else:
            values = given
        encoded = codes[:, j].copy()
        encoded[rows] = self._scales[j].codes(values, label)
        bad = rows[np.isnan(encoded[rows])]
        if bad.size:
            code(plain(given[bad[0]]), f"{label}, row {bad[0]}")  # raises and says why
        return encoded

    def canonical(self, U: ArrayLike) -> Floats:
        """Snap unit-cube points to what the space can represent: encode(decode(u)), row by row, with the same bits.

        Args:
            U: (m, d) codes in [0, 1]; whatever stands in the column of a parameter that does not exist is ignored.

        Returns:
            (m, d) codes; NaN for a parameter that does not exist.

        Raises:
            SpaceError: wrong shape, or the code of an existing parameter is NaN or outside [0, 1].

        Cost:
            O(m (d + t)); a logarithmic column costs about 0.3 us an element, any other 0.02 us.
        """
        codes = self._rows(U)
        if 0 < codes.shape[0] <= FEW_ROWS:
            return np.array([self._canonical_row(row) for row in codes.tolist()])
        return self._snap(codes)

    def from_uniform(self, W: ArrayLike) -> Floats:
        """Push independent uniform numbers through the priors: random points of the space.

        Args:
            W: (m, d) numbers in [0, 1).

        Returns:
            (m, d) canonical codes. A parameter without a prior is uniform over its points, a continuous or logarithmic
            one over its code.

        Raises:
            SpaceError: wrong shape, or a number outside [0, 1].

        Cost:
            As canonical, and about 0.3 us for each element with a prior.
        """
        numbers = self._rows(W)
        if 0 < numbers.shape[0] <= FEW_ROWS:
            return np.array([self._canonical_row(self._spread_row(row)) for row in numbers.tolist()])
        numbers = numbers.copy()
        for j, cut in self._cuts:
            column = numbers[:, j]
            good = (column >= 0.0) & (column <= 1.0)
            if not good.all():
                raise self._bad_code(j, float(column[~good][0]))
            numbers[:, j] = each(cut.spread, column)
        return self._snap(numbers)

    def _spread_row(self, row: list[float]) -> list[float]:
        for j, cut in self._cuts:
            if not 0.0 <= row[j] <= 1.0:
                raise self._bad_code(j, row[j])
            row[j] = cut.spread(row[j])
        return row

    def _canonical_row(self, row: list[float]) -> list[float]:
        if self._plain:
            self._check_row(row)
            return [snap(c) for snap, c in zip(self._snaps, row, strict=True)]
        codes = [math.nan] * self.d
        for j in self._order:
            if self._holds(j, codes):
                if not 0.0 <= row[j] <= 1.0:
                    raise self._bad_code(j, row[j])
                codes[j] = self._snaps[j](row[j])
        return codes

    def _snap(self, codes: Floats) -> Floats:
        snapped = np.full(codes.shape, math.nan)
        for j in self._order:
            exists = self._hold(j, snapped)
            column = codes[exists, j]
            good = (column >= 0.0) & (column <= 1.0)
            if not good.all():
                raise self._bad_code(j, float(column[~good][0]))
            snapped[exists, j] = self._scales[j].snaps(column)
        return snapped

    def _hold(self, j: int, codes: Floats) -> NDArray[np.bool_]:
        """Do _holds for the rows of codes (m, d), whose earlier columns (in `order`) are final."""
        holds = np.ones(codes.shape[0], dtype=np.bool_)
        for parent, spans in self._conditions[j]:
            c = codes[:, parent]
            inside = np.zeros_like(holds)
            for lo, hi in spans:
                inside |= (c >= lo) & (c <= hi)
            holds &= inside
        return holds

    # ---- checks and errors ------------------------------------------------------------------------------------------

    def _row(self, u: ArrayLike) -> list[float]:
        row = _floats(u)
        if row.shape != (self.d,):
            raise SpaceError(f"u must have the shape ({self.d},), but got {row.shape}; give one code a parameter.")
        codes: list[float] = row.tolist()
        return codes

    def _rows(self, U: ArrayLike) -> Floats:
        rows = _floats(U)
        if rows.ndim != 2 or rows.shape[1] != self.d:
            raise SpaceError(f"U must have the shape (m, {self.d}), but got {rows.shape}; give one row a point.")
        return rows

    def _check_row(self, row: list[float]) -> None:
        for c in row:
            if not 0.0 <= c <= 1.0:
                raise self._bad_code(row.index(c), c)

    def _bad_code(self, j: int, code: float) -> SpaceError:
        return SpaceError(
            f"{self._labels[j]}: the code of a parameter that exists must lie in [0, 1], but got {code!r}; clip it."
        )

    def _superfluous(self, params: Mapping[str, Any], codes: list[float], where: str) -> SpaceError:
        for name in params:
            if name not in self._parameters:
                return self._unknown(name, where)
        j = next(j for j, name in enumerate(self.names) if name in params and codes[j] != codes[j])
        return self._not_here(j, where, params[self.names[j]])

    def _unknown(self, name: object, where: str) -> SpaceError:
        return SpaceError(
            f"params{where}: every name must be a parameter of the space, but got {name!r}; "
            f"the space has {few(self.names)}."
        )

    def _not_here(self, j: int, where: str, value: Any) -> SpaceError:
        conditions = written(self._parameters[self.names[j]].conditions)
        return SpaceError(
            f"{self._labels[j]}{where}: the parameter exists only {conditions}, which does not hold here, "
            f"but got {value!r}; leave it out."
        )


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and value != value


def _floats(x: ArrayLike) -> Floats:
    try:
        return np.asarray(x, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SpaceError(f"codes must be an array of numbers, but got {x!r} ({error}); give floats.") from None
