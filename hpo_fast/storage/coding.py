"""How a study file writes numbers and dicts: little-endian float64 blobs, JSON texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hpo_fast.errors import StudyError


def blob(numbers: npt.ArrayLike) -> bytes:
    """Write numbers."""
    return np.asarray(numbers, dtype="<f8").tobytes()


def blobs(table: npt.NDArray[np.float64]) -> list[bytes]:
    """Write each row of a table (m, width), width >= 1."""
    data, width = blob(table), 8 * table.shape[1]
    return [data[i : i + width] for i in range(0, len(data), width)]


def floats(written: Sequence[bytes | None], width: int) -> npt.NDArray[np.float64]:
    """Read m rows of `width` numbers; a row that was not written is NaN."""
    blank = blob(np.full(width, np.nan))
    data = b"".join([blank if one is None else one for one in written])
    return np.frombuffer(data, dtype="<f8").astype(np.float64).reshape(len(written), width)


def _plain(thing: Any) -> Any:
    if isinstance(thing, np.generic):
        return thing.item()
    raise TypeError(f"{type(thing).__name__} is not JSON-able")


_encode = json.JSONEncoder(default=_plain).encode  # json.dumps with a default builds one a call


def write_dict(thing: dict[str, Any] | None) -> str | None:
    """Write a dict; None for an empty one.

    Raises:
        StudyError: it is not JSON-able.
    """
    return write_json(thing) if thing else None


def write_json(thing: Any) -> str:
    """Write anything; raises as `write_dict`."""
    try:
        return _encode(thing)
    except (TypeError, ValueError) as error:
        raise StudyError(f"what is kept with a trial must be JSON-able, but got {thing!r}: {error}.") from error


def read_dict(written: str | None) -> dict[str, Any]:
    """Read what `write_dict` wrote."""
    found: dict[str, Any] = json.loads(written) if written else {}
    return found
