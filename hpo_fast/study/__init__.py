"""The study: ask, tell, optimize; the sole owner of user code, of the sign of the objective and of the clock."""

from hpo_fast.study.study import Study, minimize

__all__ = ["Study", "minimize"]
