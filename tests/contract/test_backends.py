from hpo_fast.backends import gaussian_process
from hpo_fast.testing import BackendContract, RefitContract


class TestReference(BackendContract):
    def make(self, layout, **options):
        return gaussian_process(layout, backend="reference", **options)


class TestCpu(BackendContract):
    def make(self, layout, **options):
        return gaussian_process(layout, backend="cpu", **options)


class TestReferenceRefits(RefitContract):
    def make(self, layout, **options):
        return gaussian_process(layout, backend="reference", **options)


class TestCpuRefits(RefitContract):
    def make(self, layout, **options):
        return gaussian_process(layout, backend="cpu", **options)
