"""Copies of what others may change later: a choice may be a list or a dict, and attrs hold what the user likes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from hpo_fast.errors import SpaceError
from hpo_fast.space import values
from hpo_fast.space.points import Choices

if TYPE_CHECKING:
    from hpo_fast.space import Space

Params = dict[str, Any]


def copied(thing: Any) -> Any:
    """Copy lists and dicts at any depth; all else that JSON gives never changes."""
    if thing.__class__ is dict:
        return {name: copied(value) for name, value in thing.items()}
    if thing.__class__ is list:
        return [copied(value) for value in thing]
    return thing


def params_copier(space: Space) -> Callable[[Params], Params]:
    """Give the cheapest function that copies params of this space: most spaces have no list and no dict in them."""
    return copied if has_mutable_values(space) else dict.copy


def has_mutable_values(space: Space) -> bool:
    """Tell whether a parameter has lists or dicts among its values."""
    scales = (parameter.scale for parameter in space.values())
    return any(isinstance(scale, Choices) and scale.mutable for scale in scales)


def plain(params: Mapping[str, Any]) -> Params:
    """Copy what a user gave as params, with Python's numbers in place of NumPy's, which JSON does not know.

    Raises:
        SpaceError: when it is no mapping, or holds a list with something in it that is no JSON value.
    """
    if not isinstance(params, Mapping):
        raise SpaceError(f"params must be a dict name -> value, but got {params!r}; give one.")
    return {name: plain_value(value, name) for name, value in params.items()}


def plain_value(value: Any, name: str) -> Any:
    """Do `plain` for one value."""
    value = values.plain(value)
    return values.json_copy(value, f"params[{name!r}]") if value.__class__ in (list, dict) else value
