"""What a fork must not tear apart: only the forking thread lives on in the child, and locks of others stay shut there.

Two ways to be safe. What is held for moments only is held by the forking thread while it forks, so that parent and
child both find it whole (`hold_over_fork`). What may be held for long, while a strategy thinks, is not waited for: the
child makes it anew (`renew_after_fork`).
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any, Protocol


class Held(Protocol):
    """Something with a lock that nobody holds for long, nor while taking another lock of this kind."""

    lock: Any  # threading.RLock is a function, not a type

    def before_fork(self) -> None:
        """Let go of what must not cross a fork; the lock is held."""


class Renewed(Protocol):
    """Something with a lock that may be held for long."""

    lock: Any

    def renew(self) -> None:
        """Begin anew with what another thread of the parent was in the middle of; the lock is a new one."""


_HELD: weakref.WeakSet[Held] = weakref.WeakSet()
_RENEWED: weakref.WeakSet[Renewed] = weakref.WeakSet()
_lock = threading.RLock()  # over both sets, and held over every fork: of two threads that fork, one waits
_now = threading.local()  # .things: those that the forking thread holds


def hold_over_fork(thing: Held) -> None:
    """Hold this lock over every fork, as long as the thing lives."""
    with _lock:
        _HELD.add(thing)


def renew_after_fork(thing: Renewed) -> None:
    """Give it a new lock in a forked child where another thread of the parent held the old one."""
    with _lock:
        _RENEWED.add(thing)


def _before() -> None:
    _now.things = []
    _lock.acquire()
    for thing in list(_HELD):
        thing.lock.acquire()  # until another thread's transaction is over
        _now.things.append(thing)
        thing.before_fork()


def _after() -> None:
    while _now.things:
        _now.things.pop().lock.release()
    _lock.release()


def _after_in_child() -> None:
    _after()
    for thing in list(_RENEWED):
        if thing.lock.acquire(blocking=False):
            thing.lock.release()
        else:
            thing.lock = threading.RLock()
            thing.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after_in_child)
