from hpo_fast.backends.parzen import parzen
from hpo_fast.strategies import TPE
from hpo_fast.testing import ParzenContract, StrategyContract


class TestTPE(StrategyContract):
    several_objectives = False
    constraints = False

    def make(self):
        return TPE(n_initial=4)


class TestUnivariateTPE(StrategyContract):
    several_objectives = False
    constraints = False

    def make(self):
        return TPE(multivariate=False, n_initial=1, n_candidates=7)


class TestReferenceTPE(StrategyContract):
    several_objectives = False
    constraints = False
    steps = 8

    def make(self):
        return TPE(n_initial=3, backend="reference")


class TestCompiledDensities(ParzenContract):
    def make(self, layout, **options):
        return parzen(layout, backend="cpu", **options)


class TestReferenceDensities(ParzenContract):
    def make(self, layout, **options):
        return parzen(layout, backend="reference", **options)
