"""Pictures of a study, drawn with matplotlib, which is imported only here and only when something is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from hpo_fast.errors import BackendUnavailable, StudyError
from hpo_fast.study import Study
from hpo_fast.trial import TrialState

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def convergence(studies: Study | Mapping[str, Study], *, label: str = "value") -> Figure:
    """Draw each trial's value, and the best one so far, against the trial's number.

    Args:
        studies: one study, or several to compare, by the names that the legend shows; each of one objective.
        label: what the values are.

    Returns:
        The figure; `figure.savefig("convergence.png")` writes it. It belongs to no window and is not shown by itself.

    Raises:
        StudyError: a study has several objectives, or no trial with a valid value.
        BackendUnavailable: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise BackendUnavailable(
            "convergence needs matplotlib, but it is not installed; pip install matplotlib."
        ) from error
    named = {studies.name: studies} if isinstance(studies, Study) else dict(studies)
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = figure.add_subplot(xlabel="trial", ylabel=label)
    lowest = np.inf
    for i, (name, study) in enumerate(named.items()):
        numbers, values, best = _history(name, study)
        axes.plot(numbers, values, ".", color=f"C{i}", alpha=0.35, markersize=5)
        axes.step(numbers, best, where="post", color=f"C{i}", label=name)
        lowest = min(lowest, values.min())
    if lowest > 0:
        axes.set_yscale("log")
    axes.grid(alpha=0.3, which="both")
    figure.legend(loc="outside upper center", ncols=len(named), frameon=False)  # beside the dots, not over them
    return figure


def _history(name: str, study: Study) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give numbers, values and the best feasible value so far, (m,) each, of the trials with a valid value."""
    if len(study.directions) > 1:
        raise StudyError(
            f"convergence draws studies of one objective, but {name!r} has {len(study.directions)}; "
            "look at its pareto_front."
        )
    told = [(t.number, t.value, t.feasible) for t in study.trials if t.state is TrialState.DONE]
    if not any(feasible for _, _, feasible in told):
        raise StudyError(f"convergence needs a feasible trial with a valid value, but {name!r} has none.")
    numbers, values, feasible = (np.array(column) for column in zip(*told, strict=True))
    if study.directions[0] == "maximize":
        best = np.fmax.accumulate(np.where(feasible, values, np.nan))
    else:
        best = np.fmin.accumulate(np.where(feasible, values, np.nan))
    return numbers, values, best
