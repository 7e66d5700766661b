"""Finds what `SCRIPT.py:name` on the command line stands for."""

from __future__ import annotations

import os
import sys
import traceback
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any

from hpo_fast.cli import Usage
from hpo_fast.errors import HpoFastError


class ScriptFailed(HpoFastError):
    """A user's script raised while it was imported."""


def find(reference: str, what: str) -> Any:
    """Import a script and give one of its objects.

    The script is imported as Python imports a module: once, whatever number of names is asked of it, with its folder
    first on the path, and with a `__name__` other than "__main__".

    Args:
        reference: SCRIPT.py:name.
        what: what the name should be, for messages: "objective" or "space".

    Raises:
        Usage: when the reference is none, or there is no such script or name.
        ScriptFailed: when the script raises.
    """
    path, name = split(reference, what)
    module = _load(path)
    if not hasattr(module, name):
        raise Usage(f"{what} must be a name in {path}, but there is no {name!r}.")
    return getattr(module, name)


def split(reference: str, what: str) -> tuple[str, str]:
    """Give the absolute path of the script and the name in it.

    Raises:
        Usage: when the reference is none, or there is no such script.
    """
    script, colon, name = reference.rpartition(":")
    if not colon or not script or not name.isidentifier():
        raise Usage(f"{what} must be written SCRIPT.py:name, but got {reference!r}.")
    if not os.path.isfile(script):
        raise Usage(f"{what} must be in a script that exists, but there is no {script!r}; check the path.")
    return os.path.abspath(script), name


def _load(path: str) -> ModuleType:
    stem = os.path.splitext(os.path.basename(path))[0]
    loaded = sys.modules.get(stem)
    if loaded is not None and getattr(loaded, "__file__", None) == path:
        return loaded
    # A script named like a module in use (random.py) gets another name, and does not replace it.
    name = stem if stem.isidentifier() and loaded is None else f"_hpo_fast_script_{stem}"
    if getattr(sys.modules.get(name), "__file__", None) == path:
        return sys.modules[name]
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise Usage(f"a script must be a Python file, but got {path!r}; its name should end in .py.")
    module = module_from_spec(spec)
    sys.modules[name] = module  # before it runs: pickle and dataclasses look it up
    folder = os.path.dirname(path)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
        where = f"line {lines[-1]}: " if lines and not isinstance(error, SyntaxError) else ""
        raise ScriptFailed(f"{path} raised at {where}{type(error).__name__}: {error}") from error
    return module
