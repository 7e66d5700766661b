"""What a running study shows on the terminal: one live line, and one at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

_LIVE_SECONDS = 0.1
_LOG_SECONDS = 10.0  # a file or a pipe keeps every line, so it gets few


class Progress:
    """Shows how far a study is on standard error: with tqdm where it is installed, else with a plain line.

    Args:
        show: True, False, or None: when standard error is a terminal.
        done: trials that were there before.
        total: trials that there will be, or None when nobody knows.
        best: gives a few words on the best trial; asked for ten times a second at most.
    """

    def __init__(self, show: bool | None, done: int, total: int | None, best: Callable[[], str]) -> None:
        self._out: TextIO = sys.stderr
        live = bool(getattr(self._out, "isatty", lambda: False)())
        self.shown = live if show is None else bool(show)
        self._live = live
        self._done, self._total, self._best = done, total, best
        self._next = 0.0
        self._pause = _LIVE_SECONDS if live else _LOG_SECONDS
        self._width = 0
        self._bar: Any = _bar(self._out, done, total) if self.shown and live else None

    def advance(self) -> None:
        """Count one trial more."""
        self._done += 1
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(1)
        if now < self._next:
            return
        self._next = now + self._pause
        if self._bar is not None:
            self._bar.set_postfix_str(self._best(), refresh=False)
        else:
            self._write(f"{self._done}{'' if self._total is None else f'/{self._total}'} trials, {self._best()}")

    def say(self, line: str) -> None:
        """Write a line of its own, and go on below it."""
        if self._bar is not None:
            self._bar.write(line, file=self._out)
        else:
            self._clear()
            self._out.write(line + "\n")
            self._out.flush()

    def _clear(self) -> None:
        if self._live and self._width:
            self._out.write("\r" + " " * self._width + "\r")
            self._width = 0

    def _write(self, line: str) -> None:
        if self._live:
            self._out.write("\r" + line.ljust(self._width))
            self._width = len(line)
        else:
            self._out.write(line + "\n")
        self._out.flush()

    def close(self, lines: list[str]) -> None:
        """End the live line and write the closing ones."""
        if not self.shown:
            return
        if self._bar is not None:
            self._bar.set_postfix_str(self._best(), refresh=True)
            self._bar.close()
        else:
            self._clear()
        for line in lines:
            self._out.write(line + "\n")
        self._out.flush()


def _bar(out: TextIO, done: int, total: int | None) -> Any:
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(total=total, initial=done, file=out, unit="trial", dynamic_ncols=True)


def seconds(s: float) -> str:
    """Write a time span: 0.4 s, 612 s."""
    return f"{s:.1f} s" if s < 99.95 else f"{s:.0f} s"
