from hpo_fast.backends import gaussian_process
from hpo_fast.testing import LocalContract, LocalStateContract


class TestReference(LocalContract):
    def make(self, layout, **options):
        return gaussian_process(layout, backend="reference", **options)


class TestCpu(LocalContract):
    def make(self, layout, **options):
        return gaussian_process(layout, backend="cpu", **options)


class TestReferenceState(LocalStateContract):
    def make(self, layout, **options):
        return gaussian_process(layout, backend="reference", **options)


class TestCpuState(LocalStateContract):
    def make(self, layout, **options):
        return gaussian_process(layout, backend="cpu", **options)
