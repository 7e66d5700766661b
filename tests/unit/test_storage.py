from __future__ import annotations

import importlib
import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from hpo_fast.errors import StorageError, StrategyError, StudyError
from hpo_fast.space import Categorical, Float, Space
from hpo_fast.storage.file import FORMAT, StudyFile
from hpo_fast.storage.owner import current_owner, is_dead
from hpo_fast.strategies.random import RandomSearch
from hpo_fast.study import Study
from hpo_fast.trial import TrialState

SPACE = Space(x=Float(0.0, 1.0), kind=Categorical(["a", "b"]))


def filled(path: Path, n: int = 30) -> Study:
    study = Study(SPACE, "random", storage=path, seed=3)
    study.optimize(lambda t: t["x"], n)
    return study


def closed(path: Path, n: int = 30) -> Path:
    """A study file that nobody has open: one file, the log folded in."""
    filled(path, n)._opened.file._disconnect()
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    return path


def folder(path: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in path.parent.iterdir()}


def refused(path: Path, match: str, space: Space = SPACE, **arguments: Any) -> None:
    """Both ways in are refused, and nothing changes."""
    before = folder(path)
    with pytest.raises((StorageError, StudyError), match=match):
        Study(space, storage=path, **arguments)
    assert folder(path) == before
    if not arguments and space is SPACE:
        with pytest.raises(StorageError, match=match):
            Study.load(path)
        assert folder(path) == before


def test_file_is_what_it_says(tmp_path: Path) -> None:
    path = closed(tmp_path / "s.db")
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (FORMAT,)
    assert db.execute("PRAGMA application_id").fetchone() == (0x48504F46,)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    row = db.execute("SELECT state, seq, length(u), length(objectives), params FROM trials WHERE number = 4").fetchone()
    assert row[:4] == (3, 4, 16, 8) and row[4].startswith('{"x": ')
    db.close()


@pytest.mark.parametrize(("durability", "code"), [("power", 2), ("process", 1)])
def test_durability_is_in_force(durability: str, code: int, tmp_path: Path) -> None:
    study = Study(SPACE, "random", storage=tmp_path / "s.db", durability=durability)
    db = study._opened.file._db
    assert db.execute("PRAGMA synchronous").fetchone() == (code,)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_durability_that_sqlite_does_not_give_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(importlib.import_module("hpo_fast.storage.file")._SYNCHRONOUS, "power", ("NORMAL", 2))
    with pytest.raises(StorageError, match="synchronous=2"):
        Study(SPACE, "random", storage=tmp_path / "s.db")


def test_newer_format_is_refused_unread(tmp_path: Path) -> None:
    path = closed(tmp_path / "s.db")
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {FORMAT + 1}")
    db.execute("DROP TABLE trials")  # who knows what a newer one looks like
    db.commit()
    db.close()
    refused(path, f"format {FORMAT + 1}.*upgrade")


@pytest.mark.parametrize("keep", [0.9, 0.5, 0.2, 100, 20])
def test_truncated_file(keep: float, tmp_path: Path) -> None:
    path = closed(tmp_path / "s.db")
    size = path.stat().st_size
    with open(path, "r+b") as file:
        file.truncate(int(size * keep) if keep < 1 else int(keep))
    refused(path, "damaged, truncated or no database")


def test_empty_file_beside_a_log(tmp_path: Path) -> None:
    """SQLite takes it for a new one, and drops the log with all that was told."""
    path = tmp_path / "s.db"
    (tmp_path / "open").mkdir()
    study = filled(tmp_path / "open" / "s.db")
    for name in ("s.db", "s.db-wal"):  # as a killed process leaves them
        shutil.copy(tmp_path / "open" / name, tmp_path / name)
    del study
    shutil.rmtree(tmp_path / "open")
    assert (tmp_path / "s.db-wal").stat().st_size
    os.truncate(path, 0)
    refused(path, "damaged, truncated or no database")


@pytest.mark.parametrize("content", [b"hello, world\n" * 100, b"x", b"PK\x03\x04" + bytes(4000)])
def test_no_database(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    path.write_bytes(content)
    refused(path, "no database")


def test_another_database(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE bookmarks (url TEXT)")
    db.commit()
    db.close()
    refused(path, "another kind of database")


def test_read_only_file(tmp_path: Path) -> None:
    path = closed(tmp_path / "s.db")
    path.chmod(0o444)
    refused(path, "read-only")


def test_paths_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no"):
        Study.load(tmp_path / "nothing.db")
    with pytest.raises(StorageError, match="is a folder"):
        Study(SPACE, storage=tmp_path)
    with pytest.raises(StorageError, match=r"no .*missing"):
        Study(SPACE, storage=tmp_path / "missing" / "s.db")
    for wrong in ("sqlite:///s.db", "", 3, True, b"s.db", [1], "a\0b.db", "\ud800.db"):
        with pytest.raises(StorageError, match="storage must be"):
            Study(SPACE, storage=wrong)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_empty_file_becomes_a_study(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    path.touch()  # as tempfile makes it
    assert len(filled(path, 3).trials) == 3


def test_an_empty_file_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    path.touch()
    with pytest.raises(StorageError, match="is empty"):
        Study.load(path)
    assert path.stat().st_size == 0 and [p.name for p in tmp_path.iterdir()] == ["s.db"]


def test_continued_with_something_else(tmp_path: Path) -> None:
    path = closed(tmp_path / "s.db")
    refused(path, "own space", space=Space(x=Float(0.0, 2.0), kind=Categorical(["a", "b"])))
    refused(path, "own directions", direction="maximize")
    refused(path, "own directions", directions={"loss": "minimize"})
    refused(path, "own directions and constraints", constraints=1)
    refused(path, "own seed", seed=4)
    assert len(Study(SPACE, storage=path, seed=3).trials) == 30


def test_a_strategy_that_refuses_leaves_no_file(tmp_path: Path) -> None:
    class Single(RandomSearch):
        def start(self, space: Space, n_objectives: int, n_constraints: int, seed: int) -> None:
            if n_objectives > 1:
                raise StrategyError("Single: one objective only.")

    with pytest.raises(StrategyError, match="one objective only"):
        Study(SPACE, Single(), directions=["minimize", "minimize"], storage=tmp_path / "s.db")
    assert not list(tmp_path.iterdir())


def test_strategy_and_seed_come_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    first = Study(SPACE, "grid", storage=path)
    again = Study(SPACE, storage=path)
    assert again.strategy.name == "grid" and again.seed == first.seed
    Study(SPACE, "random", storage=path)  # allowed, and journalled
    assert Study.load(path).strategy.name == "random"
    db = sqlite3.connect(path)
    assert db.execute("SELECT name, since FROM strategies ORDER BY id").fetchall() == [("grid", 0), ("random", 0)]
    db.close()
    Study(SPACE, "random", storage=path)  # the same one is no change
    assert Study(SPACE, storage=path).strategy.name == "random"


def test_two_new_studies_draw_two_seeds() -> None:
    assert Study(SPACE, "random").seed != Study(SPACE, "random").seed


def test_several_studies_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    one = Study(SPACE, "random", storage=path, name="one", seed=1)
    two = Study(Space(z=Float(0, 1)), "random", storage=path, name="two", direction="maximize")
    one.optimize(lambda t: t["x"], 5)
    two.optimize(lambda t: t["z"], 7)
    two.add_trial({"z": 0.5}, 2.0)
    assert (len(one.trials), len(two.trials)) == (5, 8)
    assert Study.load(path, "two").best_trial.value == 2.0
    assert one.best_trial.number < 5
    with pytest.raises(StudyError, match="'one', 'two'"):
        Study.load(path)
    with pytest.raises(StorageError, match="no study 'three'"):
        Study.load(path, "three")
    assert Study.load(path, "one").seed == 1


def test_one_study_needs_no_name(tmp_path: Path) -> None:
    Study(SPACE, "random", storage=tmp_path / "s.db", name="mine")
    assert Study(SPACE, storage=tmp_path / "s.db").name == "mine"


def test_a_copied_file_is_a_study(tmp_path: Path) -> None:
    path = closed(tmp_path / "s.db")
    shutil.copy(path, tmp_path / "copy.db")
    assert [t.params for t in Study.load(tmp_path / "copy.db").trials] == [t.params for t in Study.load(path).trials]


def test_a_changed_folder_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = Study(SPACE, "random", storage="s.db")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    study.optimize(lambda t: t["x"], 2)
    assert study.storage == "s.db" and not list((tmp_path / "sub").iterdir())


def _ask_in_child(study: Study, numbers: Any) -> None:
    study.optimize(lambda t: t["x"], 3)
    numbers.put([t.number for t in study.trials])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_a_forked_child_opens_the_file_anew(tmp_path: Path) -> None:
    study = filled(tmp_path / "s.db", 2)
    context = multiprocessing.get_context("fork")
    numbers = context.Queue()
    child = context.Process(target=_ask_in_child, args=(study, numbers))
    child.start()
    assert numbers.get(timeout=30) == [0, 1, 2, 3, 4]
    child.join()
    study.optimize(lambda t: t["x"], 1)
    assert [t.number for t in study.trials] == [0, 1, 2, 3, 4, 5]


class Thinking(RandomSearch):
    """Stays in its first ask until it is let go, in the process that began it."""

    reads_history = True

    def __init__(self) -> None:
        self.inside, self.go_on, self.home = threading.Event(), threading.Event(), os.getpid()
        self.half: list[int] = []

    def start(self, *arguments: Any) -> None:
        self.half = []
        super().start(*arguments)

    def ask(self, numbers: Any, pending: Any) -> list[Any]:
        assert not self.half, "no other ask is half done"
        self.half = list(numbers)
        if os.getpid() == self.home:
            self.inside.set()
            assert self.go_on.wait(60)
        self.half = []
        return super().ask(numbers, pending)


def _look_and_ask(study: Study, results: Any) -> None:
    best = study.best_trial.number
    study.optimize(lambda t: t["x"], 1)
    results.put((best, study.trials[-1].number))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
@pytest.mark.parametrize("stored", [False, True])
def test_a_fork_while_another_thread_thinks(stored: bool, tmp_path: Path) -> None:
    """The child has no such thread, which would unlock what it locked."""
    strategy = Thinking()
    study = Study(SPACE, strategy, storage=tmp_path / "s.db" if stored else None, seed=3)
    study.add_trial({"x": 0.5, "kind": "a"}, 0.5)
    thread = threading.Thread(target=study.ask)
    thread.start()
    assert strategy.inside.wait(60)
    ranked = threading.Event()

    def rank() -> None:
        with study._ranking.lock:
            ranked.set()
            strategy.go_on.wait(60)

    other = threading.Thread(target=rank)
    other.start()
    assert ranked.wait(60)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_look_and_ask, args=(study, results))
    child.start()
    try:
        assert results.get(timeout=20) == (0, 2), "number 1 is what the parent thinks about"
    finally:
        strategy.go_on.set()
        thread.join()
        other.join()
        child.join(5)
        child.kill()
    assert study.trials[1].number == 1


FORKS = """
import os, sys, threading
import hpo_fast as hpo
sys.setswitchinterval(1e-6)
studies = [hpo.Study(hpo.Space(x=hpo.Float(0, 1)), "random", seed=0) for _ in range(3)]

def fork():
    for _ in range(100):
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)

threads = [threading.Thread(target=fork, daemon=True) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(60)
assert not any(thread.is_alive() for thread in threads), "a fork waits for ever"
for study in studies:
    study.tell(study.ask(), 1.0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_several_threads_fork_at_once(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", FORKS], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_a_forked_child_gives_nothing_back_for_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study(SPACE, "random", storage=tmp_path / "s.db", seed=3)
    asker, owner = study._asker, current_owner()
    (trial,) = asker.ask(1, owner)

    def fail(*arguments: Any) -> None:
        raise StorageError("the disk is away")

    with monkeypatch.context() as broken:
        broken.setattr(study._journal, "give_back", fail)
        asker.give_back([trial.number], owner)
    child = multiprocessing.get_context("fork").Process(target=study.ask)
    child.start()
    child.join(60)
    assert child.exitcode == 0
    states = [record.state for record in study.trials]
    assert states == [TrialState.RUNNING, TrialState.RUNNING], "the child asked another one"
    assert study.ask().number == trial.number, "the parent gave it back, and out again"


@pytest.mark.parametrize("stored", [False, True])
def test_what_was_told_while_it_waited_counts(stored: bool, tmp_path: Path) -> None:
    study = Study(SPACE, "random", storage=tmp_path / "s.db" if stored else None, seed=3)
    study.add_trial({"x": 0.1, "kind": "a"}, 1.0)
    study.tell(study.enqueue({"x": 0.2, "kind": "a"}), 2.0)
    asked = study.ask()
    study.release(asked)
    study.tell(asked, 3.0)
    assert study._journal.results(-1).asked.tolist() == [False, True, True]
    assert study.total_trials == 2
    study.optimize(lambda t: t["x"], total_trials=5)
    assert (study.total_trials, len(study.trials)) == (5, 6)


def test_a_failing_block_leaves_nothing(tmp_path: Path) -> None:
    file = StudyFile(tmp_path / "s.db")
    with pytest.raises(KeyboardInterrupt), file.transaction() as db:
        db.execute("INSERT INTO studies (name, created, objectives, seed) VALUES ('a', 0, '', 0)")
        raise KeyboardInterrupt
    assert file.names() == []
    with pytest.raises(StorageError, match="could not be read or written"), file.transaction() as db:
        db.execute("SELECT nothing FROM nowhere")


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer signals on this system")
def test_ctrl_c_while_the_file_is_locked(tmp_path: Path) -> None:
    """SQLite waits in C: the signal is seen when BEGIN returns, with the lock just taken."""
    study = filled(tmp_path / "s.db", 2)
    trial = study.ask()
    other = sqlite3.connect(tmp_path / "s.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    let_go = threading.Timer(0.5, other.execute, ["COMMIT"])

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        let_go.start()
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            study.tell(trial, 0.5)
    finally:
        signal.signal(signal.SIGALRM, before)
        let_go.join()
    other.execute("BEGIN IMMEDIATE")  # nobody holds the lock
    other.execute("COMMIT")
    other.close()
    study.tell(trial, 0.5)
    assert study.trials[2].value == 0.5


def test_a_locked_file_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpo_fast.storage.file._BUSY_SECONDS", 0.05)
    study = filled(tmp_path / "s.db", 2)
    trial = study.ask()
    other = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="stayed locked"):
        study.tell(trial, 0.5)
    other.execute("ROLLBACK")
    other.close()
    study.tell(trial, 0.5)  # nothing was half done
    assert study.trials[2].value == 0.5


def test_owners() -> None:
    me = current_owner()
    assert not is_dead(me)
    host, pid, start = me.rsplit("|", 2)
    assert int(pid) == os.getpid()
    assert is_dead(f"{host}|{pid}|{start}0"), "the pid was given to another process since"
    assert is_dead(f"{host}|{2**22 + 1}|{start}"), "above the highest pid"
    assert not is_dead(f"elsewhere|{2**22 + 1}|{start}"), "nobody here can know"
    assert not is_dead(f"{host}|{2**22 + 1}|"), "its start was never known"


@pytest.mark.skipif(not os.path.exists("/proc/self/ns/pid"), reason="this platform has no pid namespaces")
@pytest.mark.parametrize("options", [[], ["--mount-proc"]])
def test_an_owner_in_another_pid_namespace_counts_as_alive(options: list[str]) -> None:
    """Two containers may have the same host name, and a process with the same pid each."""
    code = "import hpo_fast.storage.owner as o; me = o.current_owner(); print(me); assert not o.is_dead(me)"
    command = ["unshare", "--pid", "--fork", *options, sys.executable, "-P", "-c", code]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("no unshare")
    if "unshare" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    owner = done.stdout.strip()
    assert owner.split("|")[1] == "1"
    assert not is_dead(owner)
    namespace = os.readlink("/proc/self/ns/pid")
    assert namespace in current_owner() and namespace not in owner


def test_ps_is_read_in_one_language_and_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no /proc: all workers must give one process the same start."""
    seen: dict[str, str] = {}

    def ps(command: list[str], env: dict[str, str], **rest: Any) -> Any:
        seen.update(env)
        return subprocess.CompletedProcess(command, 0, "Mon Jan  1 00:00:00 2024\n", "")

    def nothing(path: str) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(subprocess, "run", ps)
    monkeypatch.setattr(os, "readlink", nothing)
    monkeypatch.setattr(os.path, "exists", lambda path: False)
    assert importlib.import_module("hpo_fast.storage.owner")._start(1) == "Mon Jan  1 00:00:00 2024"
    assert (seen["LC_ALL"], seen["TZ"]) == ("C", "UTC") and "PATH" in seen


@pytest.mark.parametrize("state", [TrialState.RESERVED, TrialState.RUNNING])
def test_an_ask_by_hand_never_fails_a_trial(state: TrialState, tmp_path: Path) -> None:
    """How many attempts a trial has is for the caller of `optimize` to say."""
    study = filled(tmp_path / "s.db", 1)
    given = study.ask()
    with study._opened.file.transaction() as db:
        dead = current_owner().rsplit("|", 1)[0] + "|0"
        db.execute("UPDATE trials SET owner = ?, attempts = 9, state = ? WHERE number = 1", (dead, int(state)))
    assert study.counts()[TrialState.WAITING] == (state is TrialState.RUNNING)
    assert study.ask() == given
    assert study.trials[1].state is TrialState.RUNNING


def test_old_sqlite_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(StorageError, match=r"needs SQLite 3\.35 or newer"):
        Study(SPACE, "random", storage=tmp_path / "s.db")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_says_what_to_do(tmp_path: Path) -> None:
    study = filled(tmp_path / "s.db", 2)
    db = study._opened.file._db
    assert db is not None
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageError, match="free some space"):
        study.set_attr("large", "x" * 100_000)
    assert study.attrs == {} and len(study.trials) == 2


def test_durability_has_one_rule(tmp_path: Path) -> None:
    filled(tmp_path / "s.db", 1)
    for call in (
        lambda: Study(SPACE, "random", durability="none"),
        lambda: Study(SPACE, "random", storage=tmp_path / "s.db", durability="none"),
        lambda: Study.load(tmp_path / "s.db", durability="none"),
    ):
        with pytest.raises(StudyError, match='durability must be "power" or "process"'):
            call()


def test_an_owner_on_another_host_is_released_by_hand(tmp_path: Path) -> None:
    study = filled(tmp_path / "s.db", 1)
    journal = study._journal
    (row,) = [study.ask()]
    with study._opened.file.transaction() as db:
        db.execute("UPDATE trials SET owner = 'elsewhere|1|1' WHERE number = ?", (row.number,))
        db.execute("INSERT INTO trials (study, number, state, owner) VALUES (1, 2, 0, 'elsewhere|1|1')")
    study.optimize(lambda t: t["x"], 1)
    assert [t.number for t in study.trials] == [0, 1, 3]
    study.release(1)
    study.release(2)
    assert study.trials[1].state is TrialState.WAITING
    study.optimize(lambda t: t["x"], 2)
    assert [(t.number, t.state) for t in study.trials] == [(i, TrialState.DONE) for i in range(4)]
    assert journal.results(-1).numbers.tolist() == [0, 3, 1, 2]


def test_threads_share_a_study(tmp_path: Path) -> None:
    study = Study(SPACE, "random", storage=tmp_path / "s.db", durability="process")

    def run() -> None:
        for _ in range(20):
            trial = study.ask()
            study.tell(trial, trial["x"])

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [t.number for t in study.trials] == list(range(120))
    assert all(t.value == t.params["x"] for t in study.trials)
