"""Which points were told, in 8 bytes each: a strategy asks it only rarely, but of any of a million points."""

from __future__ import annotations

from collections.abc import Container

import numpy as np
import numpy.typing as npt

from hpo_fast.strategies.base import FloatArray

_WAITING = 256  # rows that wait to be hashed: hashing one takes as long as hashing a hundred
_BLOCK = 4096  # rows hashed at once, so that the arrays in between stay in the cache
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


class Seen:
    """A set of points, in the form of 64-bit hashes of their bytes.

    Two different points practically never have the same hash: of random ones two in 2^64 do, and others can be made up
    that do. Then one counts as told that was not, and a strategy that looks for a new point takes another one. The hash
    is a function of the bytes alone, the same in any process.

    Cost: O(d) a point added, O(n) a question, 0.3 ms for a million points.
    Reference: Steele, Lea and Flood 2014, Fast splittable pseudorandom number generators (the mixing function).
    """

    def __init__(self) -> None:
        self._hashes = np.empty(0, dtype=np.uint64)
        self._n = 0
        self._waiting: list[FloatArray] = []
        self._n_waiting = 0

    def add_points(self, U: FloatArray) -> None:
        """Add the points U (m, d)."""
        if len(U):
            self._waiting.append(U)
            self._n_waiting += len(U)
            if self._n_waiting > _WAITING:
                self._hash()

    def _hash(self) -> None:
        for U in self._waiting:
            stop = self._n + len(U)
            if stop > len(self._hashes):
                self._hashes = np.concatenate([self._hashes[: self._n], np.empty(stop, dtype=np.uint64)])
            for start in range(0, len(U), _BLOCK):
                part = _hashed(U[start : start + _BLOCK])
                self._hashes[self._n + start : self._n + start + len(part)] = part
            self._n = stop
        self._waiting.clear()
        self._n_waiting = 0

    def __contains__(self, key: object) -> bool:
        """Tell whether a point was added; `key` is its code as bytes."""
        assert isinstance(key, bytes)
        self._hash()
        return bool(np.any(self._hashes[: self._n] == _hashed(np.frombuffer(key)[None, :])[0]))


class SeenExactly(set[bytes]):
    """The same for a space of few points, without a hash: a question takes O(1)."""

    def add_points(self, U: FloatArray) -> None:
        """Add the points U (m, d)."""
        self.update(u.tobytes() for u in U)


class AnyOf(Container[bytes]):
    """The union of some sets of points, without building it."""

    def __init__(self, *sets: Container[bytes]) -> None:
        self._sets = sets

    def __contains__(self, key: object) -> bool:
        return any(key in one for one in self._sets)


def _hashed(U: FloatArray) -> npt.NDArray[np.uint64]:
    """Give (m,) hashes: the sum over the columns of a mix of the column's bits and its place."""
    bits: npt.NDArray[np.uint64] = np.ascontiguousarray(U, dtype=np.float64).view(np.uint64)
    places: npt.NDArray[np.uint64] = np.arange(1, U.shape[1] + 1, dtype=np.uint64)
    x: npt.NDArray[np.uint64] = bits + places * _STEP
    x = (x ^ (x >> np.uint64(30))) * _FIRST
    x = (x ^ (x >> np.uint64(27))) * _SECOND
    x ^= x >> np.uint64(31)
    hashes: npt.NDArray[np.uint64] = np.sum(x, axis=1, dtype=np.uint64)
    return hashes
