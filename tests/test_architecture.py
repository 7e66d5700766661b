"""The shape of the house: who may import whom, what the core may include, how large a room may be."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "hpo_fast"
CSRC = ROOT / "csrc"

# What stands in one line may import what stands in the lines below it, and its own line's rooms of the same family.
LAYERS = [
    {"__main__", "cli", "commands"},
    {"__init__", "plotting", "testing"},
    {"study", "gaussian_process"},
    {"storage"},
    {"strategies"},
    {"backends"},
    {"_core"},  # and backends/base.py, the contract: the core gives what that promises
    {"trial"},
    {"space"},
    {"errors"},
]
LEVEL = {room: i for i, layer in enumerate(LAYERS) for room in layer}
METHODS = {"random", "quasi_random", "grid", "bayesian", "tpe"}
LONG = {  # rooms above 400 lines, each with its reason
    "space.py": "one class with the contract of each verb in its docstring",
    "study.py": "the public class of the package; half of it is docstrings",
    "reference.py": "the executable specification reads as one piece, formula after formula",
    "gp.pyx": "declarations of the C++ side and one class",
    "kernels.inc": "the loops that take the time, one table of pointers, compiled once an instruction set",
    "backends.py": "one contract test a rule of the handle",
}


def modules() -> list[Path]:
    paths = [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyx")]
    return sorted(path for path in paths if "__pycache__" not in path.parts)


def parsed(path: Path) -> ast.Module:
    text = path.read_text(encoding="utf-8")
    if (
        path.suffix == ".pyx"
    ):  # Cython's grammar is not Python's: its imports and cimports alone, the inner ones in a function
        pattern = r"^([ \t]*)((?:from[ \t]+\S+[ \t]+)?)c?import\b[ \t]*(\([^)]*\)|[^\n#;]+)"
        found = re.findall(pattern, text, flags=re.MULTILINE)
        text = "\n".join(
            f"{'def inner(): ' if indent else ''}{source}import {names}" for indent, source, names in found
        )
    return ast.parse(text)


def imported(path: Path) -> set[str]:
    """Full names of what a module imports, also inside functions and for type checking."""
    names = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def imported_at_once(path: Path) -> set[str]:
    """Names of what is imported with a module: not what a function imports, nor what is for type checking alone."""
    names, left = set(), list(parsed(path).body)
    while left:
        node = left.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            left += node.orelse
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
        else:
            left += ast.iter_child_nodes(node)  # type: ignore[arg-type]
    return names


def test_every_form_of_import_is_seen(tmp_path: Path) -> None:
    python, cython = tmp_path / "a.py", tmp_path / "a.pyx"
    python.write_text(
        "import a\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import b\ntry:\n    import c.d\n"
        "except ImportError:\n    from e import f\ndef g():\n    from h import i\n"
    )
    cython.write_text(
        "from a cimport b as c, d  # e\nimport f\ncdef class G:\n    def g(self):\n        from h cimport i\n"
        "        import j.k; j.k.l()\nfrom m import (\n    n,\n    o,\n)\ncimport p\ncdef extern from 'q':\n    int r\n"
    )
    assert imported(python) == {"a", "typing.TYPE_CHECKING", "b", "c.d", "e.f", "h.i"}
    assert imported_at_once(python) == {"a", "typing", "c.d", "e"}
    assert imported(cython) == {"a.b", "a.d", "f", "h.i", "j.k", "m.n", "m.o", "p"}
    assert imported_at_once(cython) == {"a", "f", "m", "p"}


def room_of(module: str) -> str:
    parts = module.split(".")
    if parts[1:3] == ["backends", "base"]:
        return "_core"
    return parts[1] if len(parts) > 1 else "__init__"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_downward(path: Path) -> None:
    room = room_of(".".join(["hpo_fast", *path.relative_to(PACKAGE).with_suffix("").parts]))
    assert room in LEVEL, f"{room} is a new room: give it its layer"
    for name in imported(path):
        if name.split(".")[0] != "hpo_fast":
            continue
        other = room_of(name)
        if other not in LEVEL:  # `from hpo_fast import Name`: the package itself
            other = "__init__"
        assert LEVEL[other] >= LEVEL[room], f"{path.name} imports {name} from above"


def test_no_room_of_the_space_leads_back_to_itself() -> None:
    rooms = {path.stem: path for path in (PACKAGE / "space").glob("*.py") if path.stem != "__init__"}
    below = {
        room: {name.split(".")[2] for name in imported(path) if name.startswith("hpo_fast.space.")}
        for room, path in rooms.items()
    }
    assert below["space"] > {"codes", "layout"}
    TopologicalSorter(below).prepare()  # raises CycleError


@pytest.mark.parametrize("path", sorted((PACKAGE / "strategies").glob("*.py")), ids=lambda p: p.stem)
def test_a_strategy_knows_neither_the_core_nor_another_strategy(path: Path) -> None:
    if path.stem == "__init__":
        return
    for name in imported(path):
        assert not name.startswith(("hpo_fast._core", "cupy")), name
        if name.startswith("hpo_fast.strategies."):
            other = name.split(".")[2]
            assert other not in METHODS or other == path.stem, f"{path.stem} imports {other}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "backends").glob("*.py")), ids=lambda p: p.stem)
def test_backends_see_arrays_and_a_layout_only(path: Path) -> None:
    for name in imported(path):
        assert not name.startswith(("hpo_fast.trial", "hpo_fast.study", "hpo_fast.strategies")), name
        if name.startswith("hpo_fast.space"):
            assert name.startswith(("hpo_fast.space.layout.", "hpo_fast.space.Layout")), name


def test_cupy_and_other_extras_are_imported_where_they_are_used() -> None:
    extras = {"sklearn", "matplotlib", "tqdm", "pandas", "optuna", "torch", "cupy"}
    for path in modules():
        names = {name.split(".")[0] for name in imported_at_once(path)}
        assert not extras & names, f"{path} imports an extra at its top"


@pytest.mark.parametrize("path", sorted(CSRC.rglob("*.[hci]*pp")) + sorted(CSRC.rglob("*.inc")), ids=lambda p: p.name)
def test_the_core_includes_itself_and_the_standard_library(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    included = re.findall(r'^\s*#\s*include\s*([<"].*[>"])', text, flags=re.MULTILINE)
    if path.parent.name == "device":
        assert not included
    for name in included:
        if name.startswith("<"):
            assert not name.startswith(("<Python", "<numpy", "<omp")), name
        else:
            target = name.strip('"')
            assert (CSRC / target).exists() or (path.parent / target).exists(), name
    assert "std::cout" not in text and "printf(" not in text


def test_a_name_of_the_core_means_one_thing() -> None:
    """Two classes of one name, in two headers, break the rule of one definition where both are linked together."""
    names = [
        name
        for path in CSRC.rglob("*.hpp")
        for name in re.findall(
            r"^(?:struct|class|enum class) (\w+)[^;\n]*\{", path.read_text(encoding="utf-8"), re.MULTILINE
        )
    ]
    assert len(names) > 30
    assert [name for name, count in Counter(names).items() if count > 1] == []


def test_long_rooms_have_a_reason() -> None:
    sources = [*modules(), *CSRC.rglob("*.hpp"), *CSRC.rglob("*.cpp"), *CSRC.rglob("*.inc")]
    long = {path.name for path in sources if len(path.read_text(encoding="utf-8").splitlines()) > 400}
    assert long <= set(LONG)


def test_every_package_is_installed() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        listed = set(tomllib.load(file)["tool"]["setuptools"]["packages"])
    folders = {PACKAGE: "hpo_fast", ROOT / "benchmarks": "hpo_fast_bench"}
    found = {
        ".".join((name, *path.parent.relative_to(root).parts))
        for root, name in folders.items()
        for path in root.rglob("__init__.py")
    }
    assert listed == found


def test_no_room_for_everything() -> None:
    names = {path.name for path in PACKAGE.rglob("*")} | {path.name for path in CSRC.rglob("*")}
    assert not names & {"utils.py", "common", "helpers.py", "misc.py", "utils.hpp"}


def test_every_backend_has_the_verbs_of_the_protocol_with_the_same_arguments() -> None:
    from hpo_fast._core import gp
    from hpo_fast.backends import base, reference

    verbs = [name for name, value in vars(base.Surrogate).items() if inspect.isfunction(value) and name[0] != "_"]
    assert {
        "append",
        "truncate",
        "refit",
        "set_theta",
        "log_likelihood",
        "predict",
        "sample",
        "score",
        "maximise",
    } <= set(verbs)
    for verb in verbs:
        wanted = list(inspect.signature(getattr(base.Surrogate, verb)).parameters.values())
        for backend in (reference.GaussianProcess, gp.GaussianProcess):
            got = list(inspect.signature(getattr(backend, verb)).parameters.values())[: len(wanted)]
            assert [(p.name, p.default) for p in got] == [(p.name, p.default) for p in wanted], (backend, verb)


def test_every_backend_of_the_densities_has_the_verbs_of_the_protocol() -> None:
    from hpo_fast._core import parzen as core
    from hpo_fast.backends import parzen, reference_parzen

    verbs = [name for name, value in vars(parzen.Parzen).items() if inspect.isfunction(value) and name[0] != "_"]
    assert {"append", "log_density", "sample", "propose"} <= set(verbs)
    for verb in verbs:
        wanted = list(inspect.signature(getattr(parzen.Parzen, verb)).parameters.values())
        for backend in (reference_parzen.Parzen, core.Parzen):
            got = list(inspect.signature(getattr(backend, verb)).parameters.values())
            assert [(p.name, p.default) for p in got] == [(p.name, p.default) for p in wanted], (backend, verb)


@pytest.mark.parametrize("name", ["gp", "parzen", "rng"])
def test_stubs_name_what_the_core_has(name: str) -> None:
    import importlib

    module = importlib.import_module(f"hpo_fast._core.{name}")
    tree = ast.parse((PACKAGE / "_core" / f"{name}.pyi").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            stub = [argument.arg for argument in node.args.args]
            assert list(inspect.signature(getattr(module, node.name)).parameters) == stub
        elif isinstance(node, ast.ClassDef):
            public = {item.name for item in node.body if isinstance(item, ast.FunctionDef) and item.name[0] != "_"}
            runtime = {attribute for attribute in vars(getattr(module, node.name)) if attribute[0] != "_"}
            assert public == runtime
