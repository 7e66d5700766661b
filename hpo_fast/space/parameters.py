"""The kinds of parameters that a search space is made of, each of which may have conditions and a prior."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

from hpo_fast.errors import SpaceError
from hpo_fast.space.codes import Line, LogLine, Scale
from hpo_fast.space.conditions import Between, Condition, written
from hpo_fast.space.layout import CATEGORICAL, ORDERED
from hpo_fast.space.points import MOST_LOG_INT, Choices, IntPoints, LogIntPoints, StepPoints, check_size
from hpo_fast.space.priors import Normal, NormalCut
from hpo_fast.space.values import finite, json_copy, json_key, whole

Json = dict[str, Any]


class Parameter(ABC):
    """What all kinds of parameters have in common: conditions, comparison, printing and JSON.

    Two parameters are equal when they would be written alike; 1, 1.0, "1" and True are different values.

    Attributes:
        conditions: under which the parameter exists; all must hold.
        scale: how its values become codes in [0, 1].
    """

    kind: ClassVar[str]
    conditions: tuple[Condition, ...] = ()
    scale: Scale

    def when(self, mapping: Mapping[str, Any] | None = None, /, **conditions: Any) -> Self:
        """Return a copy that exists only where other parameters have given values.

        Args:
            mapping: the same as the keywords, for names that are no Python identifiers.
            conditions: name of the parent -> a value, Between(low, high), or a list of such, of which one must hold. A
                choice that is itself a list is written [[64, 64]]. Conditions of several calls must all hold.

        Raises:
            SpaceError: no condition, an empty list, a name that is no str, or a value that is not JSON. Whether the
                parent exists and can have the value is checked by Space.
        """
        given = {**(mapping or {}), **conditions}
        if not given:
            raise SpaceError(f"{self!r}.when: at least one condition must be given, but got none; name a parent.")
        if len(given) < len(mapping or ()) + len(conditions):
            twice = next(name for name in conditions if name in (mapping or {}))
            raise SpaceError(f"{self!r}.when: a parent must be named once, but got {twice!r} twice; call .when again.")
        added = []
        for name, allowed in given.items():
            if not isinstance(name, str):
                raise SpaceError(f"{self!r}.when: a parent is named by a str, but got {name!r}; write its name.")
            several = allowed if isinstance(allowed, (list, tuple)) else [allowed]
            if not several:
                raise SpaceError(f"{self!r}.when: {name!r} must have a value, but got an empty list; list its values.")
            label = f"{self!r}.when({name}=...)"
            added.append(Condition(name, tuple(v if isinstance(v, Between) else json_copy(v, label) for v in several)))
        child = copy.copy(self)
        object.__setattr__(child, "conditions", (*self.conditions, *added))
        return child

    @abstractmethod
    def arguments(self) -> Json:
        """Give the arguments that rebuild the parameter, defaults left out, as JSON values."""

    def to_json(self) -> Json:
        """Give the parameter as a JSON object."""
        obj = {"kind": self.kind, **self.arguments()}
        if self.conditions:
            obj["when"] = [condition.to_json() for condition in self.conditions]
        return obj

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Parameter) and json_key(self.to_json()) == json_key(other.to_json())

    def __hash__(self) -> int:
        return hash(json_key(self.to_json()))

    @abstractmethod
    def _written_arguments(self) -> str:
        """Give the arguments as the user writes them."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._written_arguments()}){written(self.conditions)}"


class _Range(Parameter):
    """A range of numbers: the printing and JSON that Float and Int share."""

    _plain_step: ClassVar[Any]
    low: Any
    high: Any
    log: bool
    step: Any
    prior: Normal | None

    def arguments(self) -> Json:
        obj: Json = {"low": self.low, "high": self.high}
        if self.log:
            obj["log"] = True
        if self.step != self._plain_step:
            obj["step"] = self.step
        if self.prior is not None:
            obj["prior"] = {"mu": self.prior.mu, "sigma": self.prior.sigma}
        return obj

    def _written_arguments(self) -> str:
        named = "".join(
            f", {name}={getattr(self, name)!r}" for name in ("log", "step", "prior") if name in self.arguments()
        )
        return f"{self.low!r}, {self.high!r}{named}"

    def _check(self) -> None:
        name = self.kind.capitalize()
        if not isinstance(self.log, (bool, np.bool_)):
            raise SpaceError(f"{name}: log must be True or False, but got {self.log!r}; give one of them.")
        object.__setattr__(self, "log", bool(self.log))
        if self.prior is not None and not isinstance(self.prior, Normal):
            raise SpaceError(f"{name}: prior must be Normal(mu, sigma) or None, but got {self.prior!r}; give one.")
        if self.low > self.high:
            raise SpaceError(f"{name}: low <= high must hold, but got low={self.low!r}, high={self.high!r}; swap them.")
        if self.log and self.low <= 0:
            raise SpaceError(f"{name}: low > 0 must hold where log=True, but got low={self.low!r}; raise it.")
        if self.log and self.step != self._plain_step:
            raise SpaceError(
                f"{name}: log=True and step= exclude each other, but got step={self.step!r}; "
                f"leave one out, or list the values in an Ordinal."
            )
        if self.step is not None and self.step <= 0:
            raise SpaceError(f"{name}: step > 0 must hold, but got step={self.step!r}; give a positive one.")


@dataclass(frozen=True, eq=False, repr=False)
class Float(_Range):
    """A real number in [low, high].

    Args:
        low: lowest value.
        high: highest value; equal to low for a range of one point.
        log: work with ln(value); low must be positive, and the range may span all positive doubles.
        step: only low, low + step, ... up to the last one that is not above high, as decimals: with step=0.1 the fourth
            value is 0.3. A value within 1e-8 steps of a grid point counts as that point.
        prior: distribution for random sampling, of the value or of ln(value); None: uniform in the value or in
            ln(value).

    Raises:
        SpaceError: an argument breaks the rules above, high - low overflows, the grid has more than 2**50 points, or
            the prior lies more than 37 sigma away from the range.
    """

    kind: ClassVar[str] = "float"
    _plain_step: ClassVar[Any] = None
    low: float
    high: float
    log: bool = field(default=False, kw_only=True)
    step: float | None = field(default=None, kw_only=True)
    prior: Normal | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("low", "high", "step"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, finite(getattr(self, name), f"Float({name})"))
        self._check()
        low, high, label = self.low, self.high, f"Float({self._written_arguments()})"
        if not math.isfinite(high - low):
            raise SpaceError(f"{label}: high - low must be a finite double; narrow the range or use log=True.")
        scale: Scale
        if low == high or self.step is not None:
            scale = StepPoints(low, high, self.step or 1.0, label)
        else:
            scale = LogLine(low, high) if self.log else Line(low, high)
        if self.prior is not None and isinstance(scale, Line):
            span = scale.log_span if isinstance(scale, LogLine) else scale.span
            mu = self.prior.mu - (math.log(low) if self.log else low)
            scale.cut = NormalCut(mu, self.prior.sigma, 0.0, span, label)
        elif self.prior is not None and self.step is not None:
            half = self.step / 2.0
            scale.cut = NormalCut(self.prior.mu - low, self.prior.sigma, -half, scale.size * self.step - half, label)
        object.__setattr__(self, "scale", scale)


@dataclass(frozen=True, eq=False, repr=False)
class Int(_Range):
    """A whole number in [low, high]; exact whatever its size.

    Args:
        low: lowest value.
        high: highest value; equal to low for a range of one point.
        log: work with ln(value); low must be positive and high at most 2**44.
        step: only low, low + step, ... up to the last one that is not above high.
        prior: distribution for random sampling, of the value or of ln(value), rounded to the nearest point; None: all
            points alike, or uniform in ln(value).

    Raises:
        SpaceError: an argument breaks the rules above, there are more than 2**50 points, or the prior lies more than 37
            sigma away from the range.
    """

    kind: ClassVar[str] = "int"
    _plain_step: ClassVar[Any] = 1
    low: int
    high: int
    log: bool = field(default=False, kw_only=True)
    step: int = field(default=1, kw_only=True)
    prior: Normal | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("low", "high", "step"):
            object.__setattr__(self, name, whole(getattr(self, name), f"Int({name})"))
        self._check()
        low, high, step, label = self.low, self.high, self.step, f"Int({self._written_arguments()})"
        size = (high - low) // step + 1
        check_size(size, label)
        if self.log and high > MOST_LOG_INT:
            raise SpaceError(
                f"{label}: high <= 2**44 must hold where log=True, but got high={high}; "
                f"lower it, or use Float(log=True) and round in the objective."
            )
        scale: IntPoints
        if self.log and size > 1:
            scale = LogIntPoints(low, high)
        else:
            scale = IntPoints(low, step, size)
        if self.prior is not None:
            try:
                scale.cut = self._cut(scale, self.prior, label)
            except OverflowError:
                raise SpaceError(
                    f"{label}: a prior needs bounds that a double can hold, but these are larger; drop the prior."
                ) from None
        object.__setattr__(self, "scale", scale)

    @staticmethod
    def _cut(scale: IntPoints, prior: Normal, label: str) -> NormalCut:
        if isinstance(scale, LogIntPoints):
            return NormalCut(prior.mu - scale.log_low, prior.sigma, 0.0, scale.log_span, label)
        # Distances from low are taken in integers first: both mu and low may be above 2**53.
        floor = math.floor(prior.mu)
        mu = float(floor - scale.low) + (prior.mu - floor)
        half = scale.step / 2
        return NormalCut(mu, prior.sigma, -half, scale.size * scale.step - half, label)


class _Choice(Parameter):
    """A list of JSON values: what Categorical and Ordinal share."""

    choices: tuple[Any, ...]
    scale: Choices

    def _fill(self, choices: Iterable[Any], kind: int) -> None:
        name = self.kind.capitalize()
        if isinstance(choices, (str, bytes, set, frozenset, Mapping)) or not isinstance(choices, Iterable):
            raise SpaceError(
                f"{name}: choices must be a list, but got {choices!r} of type {type(choices).__name__}; "
                f"write the values in square brackets."
            )
        copies = tuple(json_copy(choice, f"{name}(choices)") for choice in choices)
        if not copies:
            raise SpaceError(f"{name}: choices must hold at least one value, but got none; list the values.")
        object.__setattr__(self, "choices", copies)
        # The scale has copies of its own: what a user does to a list in `choices` does not alter the space.
        object.__setattr__(self, "scale", Choices(tuple(json_copy(choice, "") for choice in copies), kind, name))

    def arguments(self) -> Json:
        return {"choices": [json_copy(choice, "") for choice in self.scale.choices]}

    def _written_arguments(self) -> str:
        choices = self.scale.choices
        if len(choices) <= 30:
            return repr(list(choices))
        return f"[{', '.join(map(repr, choices[:3]))}, ..., {choices[-1]!r}] of {len(choices)}"


@dataclass(frozen=True, eq=False, repr=False)
class Categorical(_Choice):
    """One of a list of values without an order.

    Args:
        choices: JSON values (None, bool, int, finite float, str, list, dict with str keys), all different; 1, 1.0, "1"
            and True are different.

    Raises:
        SpaceError: no choice, a choice twice, or one that is not JSON.
    """

    kind: ClassVar[str] = "categorical"
    choices: Any

    def __post_init__(self) -> None:
        self._fill(self.choices, CATEGORICAL)


@dataclass(frozen=True, eq=False, repr=False)
class Ordinal(_Choice):
    """One of a list of values whose order counts: neighbours are taken to be alike.

    Args:
        choices: as for Categorical, in their order.

    Raises:
        SpaceError: no choice, a choice twice, or one that is not JSON.
    """

    kind: ClassVar[str] = "ordinal"
    choices: Any

    def __post_init__(self) -> None:
        self._fill(self.choices, ORDERED)


@dataclass(frozen=True, eq=False, repr=False)
class Constant(Parameter):
    """A value that stays as it is and is handed to the objective with the others.

    Args:
        value: a JSON value.

    Raises:
        SpaceError: the value is not JSON.
    """

    kind: ClassVar[str] = "constant"
    value: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", json_copy(self.value, "Constant(value)"))
        object.__setattr__(self, "scale", Choices((json_copy(self.value, ""),), CATEGORICAL, "Constant"))

    def arguments(self) -> Json:  # noqa: D102
        return {"value": self.scale.value(0.5)}

    def _written_arguments(self) -> str:
        return repr(self.scale.value(0.5))


KINDS: dict[str, type[Parameter]] = {cls.kind: cls for cls in (Float, Int, Categorical, Ordinal, Constant)}


def parameter_from_json(obj: Json) -> Parameter:
    """Rebuild a parameter that to_json gave.

    Raises:
        KeyError, TypeError, AttributeError, SpaceError: the object was not made by to_json.
    """
    arguments = {name: value for name, value in obj.items() if name not in ("name", "kind", "when")}
    if "prior" in arguments:
        arguments["prior"] = Normal(**arguments["prior"])
    cls: Any = KINDS[obj["kind"]]
    if issubclass(cls, _Range):
        parameter = cls(arguments.pop("low"), arguments.pop("high"), **arguments)
    else:
        parameter = cls(**arguments)
    object.__setattr__(parameter, "conditions", tuple(map(Condition.from_json, obj.get("when", ()))))
    return parameter  # type: ignore[no-any-return]
