"""Which process works on a trial, and whether it still lives."""

from __future__ import annotations

import os
import platform
from functools import lru_cache


@lru_cache(maxsize=1)
def _myself(pid: int) -> str:
    return f"{_host()}|{pid}|{_start(pid) or ''}"


if hasattr(os, "register_at_fork"):  # the first process of a new pid namespace may have the pid of its parent
    os.register_at_fork(after_in_child=lambda: _myself.cache_clear())


def current_owner() -> str:
    """Name this process so that no other, on any host and at any time, has the same name: host, pid and start."""
    return _myself(os.getpid())


def _host() -> str:
    """Name the place in which pids mean something: the host, and the pid namespace (containers may share a host name).

    A container that is started again is another place, so trials of its former life wait for Study.release.

    Reference: pid_namespaces(7).
    """
    try:
        return f"{platform.node()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()


def is_dead(owner: str) -> bool:
    """Tell whether a process is certainly gone.

    Only the host and pid namespace that ran a process can know; an owner elsewhere counts as alive, and so does one
    whose start could not be read.
    """
    host, pid, start = owner.rsplit("|", 2)
    if host != _host() or not start:
        return False
    now = _start(int(pid))
    return now is not None and now != start


def _start(pid: int) -> str | None:
    """Give what tells a process from later ones with the same pid: "gone" without one, None if unknowable."""
    try:
        if os.readlink("/proc/self") != str(os.getpid()):
            return None  # it shows the processes of another namespace
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name of the program stands in parentheses and may hold anything, so count from the last one.
            fields = file.read().rpartition(b")")[2].split()
        if fields[0] in (b"Z", b"X"):  # dead, and only not yet waited for by its parent
            return "gone"
        return f"{_boot()}-{fields[19].decode()}"  # proc(5): starttime, in clock ticks since the boot
    except (FileNotFoundError, ProcessLookupError):
        if os.path.exists("/proc/self/stat"):
            return None if _exists(pid) else "gone"
    except (OSError, IndexError):
        return None
    import subprocess  # slow to import, and only needed where there is no such /proc: on macOS and the BSDs

    plain = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}  # all workers have to read the same words
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, env=plain)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or "gone"


def _exists(pid: int) -> bool:
    """Ask the kernel, since /proc may hide the processes of other users (hidepid)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it is another user's
    return True


@lru_cache(maxsize=1)
def _boot() -> str:
    """Name this boot of the machine: ticks since the boot repeat after the next one."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()[:8]
    except OSError:
        return ""
