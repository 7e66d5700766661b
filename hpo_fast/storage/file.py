"""The study file: a SQLite database in WAL mode that holds several named studies."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from hpo_fast.errors import StorageError, StudyError
from hpo_fast.storage.fork import hold_over_fork
from hpo_fast.storage.journal import check_durability

FORMAT = 1
_APPLICATION = 0x48504F46  # "HPOF", in SQLite's header, tells our files from other databases
# A writer holds the lock for milliseconds, and for 4 to 8 s a million trials added together: a minute of waiting means
# that something is wrong.
_BUSY_SECONDS = 60.0
_LEAST_SQLITE = (3, 35)  # the first with RETURNING, 2021
_SYNCHRONOUS = {"power": ("FULL", 2), "process": ("NORMAL", 1)}  # https://sqlite.org/pragma.html#pragma_synchronous

_SCHEMA = (
    """CREATE TABLE studies (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        created REAL NOT NULL,
        space TEXT,
        objectives TEXT NOT NULL,
        seed INTEGER NOT NULL,
        added INTEGER NOT NULL DEFAULT 0,  -- trials that were added, not asked: they do not count for total_trials
        attrs TEXT NOT NULL DEFAULT '{}'
    )""",
    """CREATE TABLE strategies (  -- the last row of a study is its strategy
        id INTEGER PRIMARY KEY,
        study INTEGER NOT NULL REFERENCES studies (id),
        since INTEGER NOT NULL,  -- the first number that was new then
        name TEXT NOT NULL,
        config TEXT NOT NULL
    )""",
    """CREATE TABLE trials (
        study INTEGER NOT NULL REFERENCES studies (id),
        number INTEGER NOT NULL,
        state INTEGER NOT NULL,  -- reserved 0, waiting 1, running 2, done 3, pruned 4, failed 5
        seq INTEGER,             -- order of telling; NULL until then
        started REAL,
        ended REAL,
        attempts INTEGER NOT NULL DEFAULT 0,
        owner TEXT,              -- host|pid|start of the process
        u BLOB,                  -- u, objectives and constraints: little-endian float64
        objectives BLOB,
        constraints BLOB,
        params TEXT,
        attrs TEXT,
        reports TEXT,
        note TEXT,
        reason TEXT,
        PRIMARY KEY (study, number)
    ) WITHOUT ROWID""",
    "CREATE UNIQUE INDEX told_trials ON trials (study, seq) WHERE seq IS NOT NULL",
    "CREATE INDEX open_trials ON trials (study, state, number) WHERE seq IS NULL",
)


class StoredStudy(NamedTuple):
    """What the file says of a study."""

    id: int
    name: str
    space: dict[str, Any]
    objectives: dict[str, Any]
    seed: int
    strategy: str
    config: dict[str, Any]


def read_path(path: Any) -> str:
    """Read the `storage` argument.

    Raises:
        StorageError: when it is no path that a file can have.
    """
    if isinstance(path, bool) or not isinstance(path, (str, os.PathLike)):
        raise StorageError(f"storage must be a path, or None for memory, but got {path!r}.")
    name = os.fspath(path)
    if not isinstance(name, str) or "://" in name or not name or "\0" in name:
        raise StorageError(f'storage must be the path of a file, like "tuning.db", but got {name!r}.')
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        raise StorageError(f"storage must be a path that this system can write, but got {name!r}.") from None
    return name


class StudyFile:
    """An open study file. Threads may share it; so may a forked child.

    Args:
        path: where the file is, or, with create=True, will be.
        durability: "power": a told trial survives a power cut. "process": it survives the death of the process, and a
            power cut may take the last ones; the file stays sound.
        create: make the file when there is none.

    Raises:
        StudyError: for an unknown durability.
        StorageError: when there is no such file, it cannot be written, is damaged, is no study file, or has a newer
            format, or SQLite is too old. Nothing was changed then.
    """

    def __init__(self, path: str | os.PathLike[str], durability: str = "power", create: bool = True) -> None:
        check_durability(durability)
        if sqlite3.sqlite_version_info < _LEAST_SQLITE:
            least = ".".join(map(str, _LEAST_SQLITE))
            raise StorageError(
                f"a study file needs SQLite {least} or newer, but this Python has {sqlite3.sqlite_version}; install a "
                "newer Python, or leave storage out to keep the study in memory."
            )
        self.path = read_path(path)
        self.durability = durability
        self._absolute = os.path.abspath(self.path)  # the process may change its folder
        self.lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._check_path(create)
        self._open(create)
        hold_over_fork(self)

    def _check_path(self, create: bool) -> None:
        path = self._absolute
        folder = os.path.dirname(path)
        if os.path.isdir(path):
            raise StorageError(f"storage must be a file, but {self.path!r} is a folder; add a file name.")
        if not os.path.isdir(folder):
            raise StorageError(f"storage must lie in a folder that exists, but there is no {folder!r}; make it first.")
        if not os.path.exists(path):
            if not create:
                raise StorageError(f"a study is loaded from its file, but there is no {self.path!r}; check the path.")
        # An administrator may write to anything, so look at what the owner of the file meant as well.
        elif not os.access(path, os.W_OK) or not os.stat(path).st_mode & 0o222:
            raise StorageError(
                f"a study file must be writable, but {self.path!r} is read-only; change its permissions or copy it."
            )
        if not os.access(folder, os.W_OK):  # SQLite keeps the log beside the file
            raise StorageError(f"the folder of a study file must be writable, but {folder!r} is read-only.")

    def _sizes(self) -> tuple[int | None, int]:
        """Give the bytes of the file, None where there is none, and of its log.

        Never open the file to look into it: closing it again would drop the locks that SQLite has on it in this
        process (https://sqlite.org/howtocorrupt.html, section 2.2).
        """
        sizes: list[int | None] = []
        for path in (self._absolute + "-wal", self._absolute):  # a log begins when the file has its first page
            try:
                sizes.append(os.path.getsize(path))
            except FileNotFoundError:
                sizes.append(None)
        return sizes[1], sizes[0] or 0

    def _open(self, create: bool) -> sqlite3.Connection:
        """Connect, after a look at what is there, before anything is written."""
        size, log = self._sizes()
        if log and size == 0:  # SQLite would take it for a new one, and drop the log with all that was told
            raise self._explain(sqlite3.DatabaseError("malformed: it is empty, and the log beside it is not"))
        if log:
            size = None  # the log belongs to the file, so its own size means nothing
        if size is not None and size % 512:  # the smallest page; SQLite takes a file of few bytes for an empty one
            raise self._explain(sqlite3.DatabaseError("the file is not a database, or not all of it"))
        try:
            db = sqlite3.connect(self._absolute, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise self._explain(error) from error
        try:
            db.execute("BEGIN")  # one view for all that is read: another process may be creating the file now
            new = self._is_new(db, size)
            db.execute("COMMIT")
            if new and not create:
                raise StorageError(
                    f"a study is loaded from its file, but {self.path!r} is empty; restore it from a copy or delete it."
                )
            if new:
                self._create(db)
            self._set_durability(db)
        except BaseException as error:
            db.close()
            if isinstance(error, sqlite3.Error):
                raise self._explain(error) from error
            raise
        self._db = db
        self._finalizer = weakref.finalize(self, db.close)
        return db

    def _is_new(self, db: sqlite3.Connection, size: int | None = None) -> bool:
        """Tell whether the database is empty; refuse what is not ours."""
        application = db.execute("PRAGMA application_id").fetchone()[0]
        version = db.execute("PRAGMA user_version").fetchone()[0]
        tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if size is not None and size % db.execute("PRAGMA page_size").fetchone()[0]:
            raise sqlite3.DatabaseError("malformed: its last page was cut")  # SQLite would fill it up
        if application == _APPLICATION:
            if version > FORMAT:
                raise StorageError(
                    f"this hpo_fast reads study files of format {FORMAT}, but {self.path!r} has format {version}, "
                    "written by a newer release; upgrade hpo_fast."
                )
            return False
        if application or version or tables:
            raise StorageError(f"storage must be a study file, but {self.path!r} is another kind of database.")
        return True

    def _create(self, db: sqlite3.Connection) -> None:
        # The change to WAL answers "locked" at once when another process does the same, whatever the timeout is.
        deadline = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                db.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        self._set_durability(db)
        db.execute("BEGIN IMMEDIATE")
        if self._is_new(db):  # nobody else was faster
            for statement in _SCHEMA:
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {_APPLICATION}")
            db.execute(f"PRAGMA user_version = {FORMAT}")
        db.execute("COMMIT")

    def _set_durability(self, db: sqlite3.Connection) -> None:
        word, code = _SYNCHRONOUS[self.durability]
        db.execute(f"PRAGMA synchronous = {word}")
        if self.durability == "power":
            db.execute("PRAGMA fullfsync = ON")  # macOS: fsync alone leaves the data in the drive's cache
        mode = db.execute("PRAGMA journal_mode").fetchone()[0]
        found = db.execute("PRAGMA synchronous").fetchone()[0]
        if (mode, found) != ("wal", code):
            raise StorageError(
                f"durability={self.durability!r} needs SQLite with journal_mode=wal and synchronous={code}, but "
                f"{self.path!r} has {mode} and {found}; put the file on a local disk."
            )

    def _reopen(self) -> sqlite3.Connection:
        self._check_path(create=False)  # it may be gone, and an empty one in its place would help nobody
        return self._open(create=False)

    def before_fork(self) -> None:
        """Close the connection; parent and child connect anew when they next need the file.

        It must not cross a fork, not even unused: the child's copy of SQLite would believe that it holds the locks of
        the parent (https://sqlite.org/howtocorrupt.html, section 2.6).
        """
        self._disconnect()

    def _disconnect(self) -> None:
        if self._db is not None:
            self._finalizer()
            self._db = None

    @contextmanager
    def transaction(self, write: bool = True) -> Iterator[sqlite3.Connection]:
        """Run the block as one transaction: all of it or nothing; without `write`, one unchanging view of the file."""
        with self.lock:
            db = self._db if self._db is not None else self._reopen()
            try:
                try:  # Ctrl-C while BEGIN waits is raised right after it, with the lock taken
                    db.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                    yield db
                    db.execute("COMMIT")
                except BaseException:
                    if db.in_transaction:
                        db.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise self._explain(error) from error

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Have an empty database `aside` beside the file meanwhile, for this connection alone.

        It lies in SQLite's cache and, where it is larger, in a temporary file (https://sqlite.org/inmemorydb.html,
        section 3). A transaction without `write` that writes to nothing else leaves the study file unlocked.
        """
        with self.lock:
            with self.transaction(write=False) as db:  # it connects, where that has to be done
                pass
            try:
                self._drop_aside(db)  # a second Ctrl-C may have left one
                db.execute("ATTACH DATABASE '' AS aside")
                yield
            except sqlite3.Error as error:
                raise self._explain(error) from error
            finally:
                self._drop_aside(db)

    @staticmethod
    def _drop_aside(db: sqlite3.Connection) -> None:
        if any(name == "aside" for _, name, _ in db.execute("PRAGMA database_list").fetchall()):
            db.execute("DETACH DATABASE aside")

    def _explain(self, error: sqlite3.Error) -> StorageError:
        text = str(error)
        if "not a database" in text or "malformed" in text:
            return StorageError(
                f"storage must be a sound study file, but {self.path!r} is damaged, truncated or no database "
                f"({text}); restore it from a copy or use another path."
            )
        if "locked" in text:
            return StorageError(
                f"a study file is locked for milliseconds at a time, or seconds for a million trials added together, "
                f"but {self.path!r} stayed locked for {_BUSY_SECONDS:.0f} s; look for a stopped process, keep the file "
                "on a local disk, and add many millions of trials in parts."
            )
        if "full" in text:
            return StorageError(
                f"a study file needs room on its disk, and thousands of trials added together need it in the folder "
                f"for temporary files as well, but {self.path!r} could not be written ({text}); free some space and "
                "run it again: all that was told before is kept."
            )
        return StorageError(
            f"the study file {self.path!r} could not be read or written: {text}; look at its disk and permissions, "
            "then run it again."
        )

    def names(self) -> list[str]:
        """Give the names of the studies in the file, the oldest first."""
        with self.transaction(write=False) as db:
            return [name for (name,) in db.execute("SELECT name FROM studies ORDER BY id")]

    def find(self, name: str | None) -> StoredStudy | None:
        """Give the study of that name, or, for None, the only one in the file; None when there is none.

        Raises:
            StudyError: when name is None and the file holds several studies.
        """
        with self.transaction(write=False) as db:
            return self._find(db, name)

    def _find(self, db: sqlite3.Connection, name: str | None) -> StoredStudy | None:
        rows = db.execute(
            "SELECT id, name, space, objectives, seed FROM studies WHERE ?1 IS NULL OR name = ?1 ORDER BY id", (name,)
        ).fetchall()
        if len(rows) > 1:
            names = ", ".join(repr(row[1]) for row in rows)
            raise StudyError(f"name may be left out when a file holds one study, but {self.path!r} holds {names}.")
        if not rows:
            return None
        study, found, space, objectives, seed = rows[0]
        strategy, config = db.execute(
            "SELECT name, config FROM strategies WHERE study = ? ORDER BY id DESC LIMIT 1", (study,)
        ).fetchone()
        return StoredStudy(study, found, json.loads(space), json.loads(objectives), seed, strategy, json.loads(config))

    def find_or_add(
        self,
        name: str | None,
        space: dict[str, Any],
        objectives: dict[str, Any],
        seed: int,
        strategy: str,
        config: dict[str, Any],
    ) -> tuple[StoredStudy, bool]:
        """Give the study of that name, as `find` does, or make it; and whether it was made now."""
        with self.transaction() as db:
            found = self._find(db, name)
            if found is not None:
                return found, False
            (study,) = db.execute(
                "INSERT INTO studies (name, created, space, objectives, seed) VALUES (?, ?, ?, ?, ?) RETURNING id",
                (name or "study", time.time(), json.dumps(space), json.dumps(objectives), seed),
            ).fetchone()
            _add_strategy(db, study, strategy, config)
            made = self._find(db, name)
            assert made is not None
            return made, True

    def change_strategy(self, study: int, strategy: str, config: dict[str, Any]) -> None:
        """Note that a study goes on with another strategy."""
        with self.transaction() as db:
            _add_strategy(db, study, strategy, config)


def _add_strategy(db: sqlite3.Connection, study: int, strategy: str, config: dict[str, Any]) -> None:
    db.execute(
        "INSERT INTO strategies (study, since, name, config) "
        "VALUES (?1, (SELECT coalesce(max(number) + 1, 0) FROM trials WHERE study = ?1), ?2, ?3)",
        (study, strategy, json.dumps(config)),
    )
