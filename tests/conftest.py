"""Builds the C++ test program once a session, for the tests that run it or read values from it."""

from __future__ import annotations

import os

# The reference backend's small products only wait for each other on several threads: test_backends.py takes 16 s with
# one on a busy machine and 214 s with two. Set before NumPy is imported, and for child processes too.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import platform
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# The kernels are one source for several instruction sets, as in setup.py.
FLAGS = {f"kernels_v{level}": [f"-march=x86-64-v{level}"] for level in (2, 3, 4)}
FLAGS["kernels_v4"].append("-mprefer-vector-width=512")
KERNEL_FLAGS = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"]
X86 = platform.machine().lower() in ("x86_64", "amd64")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(command)}\n{done.stderr[-4000:]}")


@pytest.fixture(scope="session")
def build_core(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes the program with the sanitizers named ("address,undefined"); skips where that cannot be done."""

    def build(sanitizers: str) -> Path:
        compiler = shutil.which(os.environ.get("CXX", "g++"))
        if compiler is None:
            pytest.skip("no C++ compiler (g++, or the one that CXX names)")
        directory = tmp_path_factory.mktemp("core")
        flags = [f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", "-pthread"]
        (directory / "probe.cpp").write_text("int main() { return 0; }\n")
        probe = subprocess.run(
            [compiler, *flags, str(directory / "probe.cpp"), "-o", str(directory / "probe")], capture_output=True
        )
        if probe.returncode != 0 or subprocess.run([str(directory / "probe")], capture_output=True).returncode != 0:
            pytest.skip(f"{compiler} has no working runtime for -fsanitize={sanitizers}")

        def compile_one(source: Path) -> str:
            target = str(directory / f"{source.parent.name}_{source.stem}.o")
            own = FLAGS.get(source.stem, []) if X86 else []
            # As in setup.py: most of the time is theirs, and with -O1 they take about four times as long.
            level = KERNEL_FLAGS if source.stem.startswith("kernels_") else ["-O1"]
            common = ["-std=c++17", *level, "-g1", "-DHPO_FAST_DEBUG", f"-I{ROOT / 'csrc'}"]
            _run([compiler, *common, *flags, *own, "-c", str(source), "-o", target])
            return target

        sources = [*(ROOT / "tests" / "cpp").glob("*.cpp"), *(ROOT / "csrc" / "hpo").glob("*.cpp")]
        if not X86:
            sources = [s for s in sources if s.stem not in FLAGS]
        with ThreadPoolExecutor(2) as pool:
            objects = list(pool.map(compile_one, sorted(sources)))
        _run([compiler, *flags, *objects, "-o", str(directory / "test_core")])
        return directory / "test_core"

    return build


@pytest.fixture(scope="session")
def core_program(build_core: Callable[[str], Path]) -> Path:
    """The C++ test program under the address and the undefined-behaviour sanitizer."""
    return build_core("address,undefined")


@pytest.fixture(scope="session")
def evaluate(core_program: Path) -> Callable[..., list[list[float]]]:
    """evaluate(name, numbers): the rows that `test_core eval name` prints for these numbers."""

    def call(name: str, numbers: object) -> list[list[float]]:
        text = " ".join(repr(float(x)) for x in numbers)  # type: ignore[attr-defined]
        done = subprocess.run([str(core_program), "eval", name], input=text, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [[float(x) for x in line.split()] for line in done.stdout.splitlines()]

    return call
