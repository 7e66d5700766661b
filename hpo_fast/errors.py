"""Every error that hpo_fast raises on purpose; nothing else in the package derives from Exception directly."""

from __future__ import annotations


class HpoFastError(Exception):
    """Base of all errors of this package; `except HpoFastError` catches each of them."""


class SpaceError(HpoFastError, ValueError):
    """A search space, or a point of one, that breaks its rules."""


class StrategyError(HpoFastError, ValueError):
    """A strategy asked for what it cannot do, or built with arguments that contradict each other."""


class StudyError(HpoFastError, RuntimeError):
    """A verb of a study used at the wrong time: telling twice, telling an unknown trial, all first trials failing."""


class StorageError(HpoFastError, OSError):
    """A study file that cannot be read, written or continued."""


class NumericalError(HpoFastError, ArithmeticError):
    """A covariance that is not positive definite even with jitter.

    Attributes:
        row: index of the first observation at which the factorisation failed; -1 when no row is to blame.
    """

    def __init__(self, message: str, row: int = -1) -> None:
        super().__init__(message)
        self.row = row


class BackendUnavailable(HpoFastError, ImportError):
    """A backend asked for by name that this machine or this installation does not have."""


class NothingToAsk(HpoFastError):
    """The strategy has no point to give right now; told trials may change that."""


class StudyFinished(HpoFastError):
    """The strategy is done: it will never give another point for this study."""
