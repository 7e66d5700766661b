"""The strategy protocol: what a study says to a method, and what the method answers."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, overload

import numpy as np
import numpy.typing as npt

from hpo_fast.errors import StrategyError

if TYPE_CHECKING:
    from hpo_fast.space import Space

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Proposal:
    """One point that a strategy wants to have tried.

    Attributes:
        u: (d,) float64, the code of the point: canonical (`space.canonical` leaves it as it is), NaN in the columns of
            parameters that do not exist at it.
        note: JSON-able dict that is kept in the trial's row and comes back in `Pending` and `Observations`. What was
            decided with effort belongs here, so that another process need not decide it again.
    """

    u: FloatArray
    note: dict[str, Any] = field(default_factory=dict)


class Notes(Sequence[Mapping[str, Any]]):
    """The notes of m trials, most of which may have none.

    Args:
        m: how many trials.
        kept: position -> note, in order; an empty note may be left out.
        read: makes a note of what is kept, whenever somebody looks at it; None: it is one.
    """

    def __init__(self, m: int, kept: Mapping[int, Any], read: Callable[[Any], Mapping[str, Any]] | None = None) -> None:
        self._m = m
        self._kept = kept
        self._read = read

    def __len__(self) -> int:
        return self._m

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[Mapping[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> Mapping[str, Any] | list[Mapping[str, Any]]:
        places = range(self._m)[index]  # raises IndexError
        return self._at(places) if isinstance(places, int) else list(map(self._at, places))

    def _at(self, place: int) -> Mapping[str, Any]:
        note: Mapping[str, Any] | None = self._kept.get(place)
        if note is None:
            return {}
        return note if self._read is None else self._read(note)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return map(self._at, range(self._m))

    def written(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Give position and note of the trials that may have one, in order. Cost: O(1) each."""
        return ((place, self._at(place)) for place in self._kept)


def written_notes(notes: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Give position and note of the trials that may have one, without a look at a million that have none."""
    return notes.written() if isinstance(notes, Notes) else iter(enumerate(notes))


@dataclass(frozen=True, slots=True)
class Observations:
    """Finished trials as a struct of arrays, in journal order. Nobody may write into them.

    Attributes:
        numbers: (m,) int64 trial numbers.
        U: (m, d) float64 codes; points the user added or enqueued are among them, so any point of the space may occur.
        Y: (m, k) float64, the objectives, all to be minimised, then the constraints (feasible: <= 0); NaN
            where there is no value: all of a failed trial, and of a pruned one that had not reached any.
        states: (m,) uint8, the codes of TrialState: DONE, PRUNED or FAILED.
        notes: m dicts, each what the proposal carried; empty for points that no strategy proposed.
    """

    numbers: IntArray
    U: FloatArray
    Y: FloatArray
    states: npt.NDArray[np.uint8]
    notes: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Pending:
    """Trials that were asked or enqueued and not told yet. Nobody may write into them.

    Attributes:
        numbers: (m,) int64 trial numbers.
        U: (m, d) float64 codes.
        notes: m dicts, each what the proposal carried.
    """

    numbers: IntArray
    U: FloatArray
    notes: Sequence[Mapping[str, Any]]


class Strategy(ABC):
    """A method of choosing trials: serialisable state that knows nothing of processes, files, clocks or user code.

    The study calls `start`, then `ask` and `tell` in any order, and it is the only caller: no two calls overlap. After
    an exception out of `ask` or `tell`, or a fork in the middle of one, it calls `start` and tells everything again.
    An ask is a function of the seed, the trial numbers, the pending trials and what was told before, in the order of
    telling; it must not read a clock, a global generator or anything else.

    Attributes:
        name: what the study file calls the strategy.
        distinct: True when no two trials may get equal points; the study then asks again until the point is new.
        reads_history: False when `tell` has no effect; the study then spares itself the call.
    """

    name: ClassVar[str]
    distinct: ClassVar[bool] = False
    reads_history: ClassVar[bool] = True

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Give the JSON-able keyword arguments that build this strategy again: `type(self)(**self.config())`."""

    @abstractmethod
    def start(self, space: Space, n_objectives: int, n_constraints: int, seed: int) -> None:
        """Begin a study, forgetting any earlier one, and say at once what cannot be done.

        A study that began may come to nothing, where its file cannot be written: then the next one starts it again.

        Args:
            space: the search space.
            n_objectives: objectives of the study, >= 1.
            n_constraints: constraints of the study, >= 0.
            seed: integer in [0, 2**63).

        Raises:
            StrategyError: when the strategy has no way to serve such a study.
        """

    @abstractmethod
    def ask(self, numbers: Sequence[int] | IntArray, pending: Pending) -> list[Proposal]:
        """Propose one point for each trial number.

        Args:
            numbers: (m,) trial numbers, distinct, each >= 0; m may be 0.
            pending: the trials asked and not told, in order of number; none of `numbers` is among them.

        Returns:
            At most m proposals, for the first of the numbers. Fewer means "not now", or, with `done` True, never again.
        """

    @abstractmethod
    def tell(self, observations: Observations) -> None:
        """Take in finished trials: none, one or a million. Telling in parts or at once must come to the same."""

    @property
    def done(self) -> bool:
        """Whether nothing is left to ask, whatever is told from now on."""
        return False

    def state_dict(self) -> dict[str, Any]:
        """Give as JSON-able dict what seed, journal and notes do not give; empty for most strategies."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave, after `start` and after all was told that had been told then.

        Raises:
            StrategyError: when the state is not one of this strategy.
        """
        if state:
            raise StrategyError(
                f"{type(self).__name__}: its whole state is in the journal, so the saved state must be empty, but got "
                f"the keys {sorted(state)}; give the state to the strategy that made it."
            )


def parameter_streams(names: Iterable[str], purpose: str) -> npt.NDArray[np.uint64]:
    """Number the streams of random numbers of each parameter, by name.

    A parameter keeps its draws when others are added, removed or declared in another order, and two purposes never
    share a draw.

    Args:
        names: names of the parameters, one a code column.
        purpose: what the numbers are for, at most 16 bytes.

    Returns:
        (d,) uint64 for the `streams` of `hpo_fast.backends.uniforms`.
    """
    person = purpose.encode()
    digests = [
        hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8, person=person).digest() for name in names
    ]
    return np.array([int.from_bytes(digest, "little") for digest in digests], dtype=np.uint64)
