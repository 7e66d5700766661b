"""Which process works on a trial, and whether it still lives."""

from __future__ import annotations

import os
import platform
from functools import lru_cache


@lru_cache(maxsize=1)
def _myself(pid: int) -> str:
    return f"{platform.node()}|{pid}|{_start(pid) or ''}"


def current_owner() -> str:
    """Name this process so that no other, on any host and at any time, has the same name: host, pid and start."""
    return _myself(os.getpid())  # keyed by the pid: a forked child is another process


def is_dead(owner: str) -> bool:
    """Tell whether a process is certainly gone.

    Only the host that ran a process can know; an owner on another host counts as alive, and so does one whose start
    could not be read.
    """
    host, pid, start = owner.rsplit("|", 2)
    if host != platform.node() or not start:
        return False
    now = _start(int(pid))
    return now is not None and now != start


def _start(pid: int) -> str | None:
    """Give what tells a process from later ones with the same pid: "gone" without one, None if unknowable."""
    try:
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

    try:
        answer = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, timeout=10)
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
