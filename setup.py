"""Extensions and compiler flags; everything else stands in pyproject.toml."""

import platform
from glob import glob

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

X86 = platform.machine().lower() in ("x86_64", "amd64")
HEADERS = sorted(glob("csrc/**/*.hpp", recursive=True) + glob("csrc/**/*.inc", recursive=True))

# No -ffast-math: NaN marks an inactive column, and linking with it changes the whole process's floating point mode.
# GCC or Clang: the kernels use their vector types. -g0: Python's own -g makes a wheel of 6 MB out of one of 1.
BASE = "-std=c++17 -O3 -fno-math-errno -fno-trapping-math -ffp-contract=fast -fvisibility=hidden -fPIC -g0".split()

# One translation unit an instruction set, chosen at run time (HPO_FAST_SIMD forces one). GCC prefers 256-bit vectors
# for x86-64-v4 unless told otherwise; the kernels are written for full registers.
if not X86:
    VARIANTS = {"base": []}
else:
    VARIANTS = {
        "v2": ["-march=x86-64-v2"],
        "v3": ["-march=x86-64-v3"],
        "v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
    }


def library(name, sources, flags=()):
    return (name, {"sources": sources, "include_dirs": ["csrc"], "cflags": [*BASE, *flags], "obj_deps": {"": HEADERS}})


CORE = [
    f"csrc/hpo/{name}.cpp"
    for name in (
        *("dispatch", "pool", "factor", "likelihood", "posterior", "rough", "refit", "neighbours", "summary", "local"),
        *("gp", "gp_fit", "gp_local", "gp_search", "parzen"),
    )
]
# The core comes first: a linker takes from a static library what those before it ask for.
LIBRARIES = [
    library("hpo_core", CORE),
    *(library(f"hpo_kernels_{name}", [f"csrc/hpo/kernels_{name}.cpp"], flags) for name, flags in VARIANTS.items()),
]


def extension(name, libraries=()):
    return Extension(
        f"hpo_fast._core.{name}",
        [f"hpo_fast/_core/{name}.pyx"],
        include_dirs=["csrc"],
        libraries=list(libraries),
        depends=HEADERS,
        language="c++",
        extra_compile_args=BASE,
    )


class BuildExt(build_ext):
    """Builds the static libraries first, which `build_ext --inplace` alone would forget."""

    def run(self):
        if self.distribution.libraries:
            self.run_command("build_clib")
            self.library_dirs.append(self.get_finalized_command("build_clib").build_clib)
        super().run()


setup(
    libraries=LIBRARIES,
    ext_modules=cythonize(
        [extension("rng"), *(extension(name, [library for library, _ in LIBRARIES]) for name in ("gp", "parzen"))],
        language_level=3,
        compiler_directives={
            "freethreading_compatible": True,
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
        },
    ),
    cmdclass={"build_ext": BuildExt},
)
