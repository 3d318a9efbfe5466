"""Database servers of the tests' own, to be killed and started again.

They listen on a socket in a temporary directory, so they meet nobody else's servers.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest

TIMEOUT = 60
DIRECTORIES = ["/usr/local/sbin", "/usr/sbin", "/usr/local/bin", "/usr/bin"]
"""Where programs may be that PATH does not lead to."""


class Server:
    """A database server, its data in ``directory``; :meth:`start` it first."""

    account: ClassVar[str]
    """The system's user who runs the server if the tests run as root, whom it refuses."""

    def __init__(self, directory: Path, options: Sequence[str]) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.log = directory / "log"
        self.options = list(options)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def database(self) -> dict[str, Any]:
        """What Django's ``DATABASES`` needs to connect."""
        raise NotImplementedError

    def initialise(self) -> None:
        """Make an empty cluster, with a database."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """Return what runs the server."""
        raise NotImplementedError

    def connect(self) -> Any:
        """Return a connection of the driver."""
        raise NotImplementedError

    def empty(self) -> None:
        """Remove all tables."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            for statement in self.emptying:
                cursor.execute(statement)
            connection.commit()

    emptying: ClassVar[list[str]]

    def start(self) -> None:
        """Start the server and wait until it answers."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                self.command(),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd=self.directory,
                **self._as_account(),
            )
        wait_until(self._answers, lambda: f"The server does not answer: {self.log.read_text()}")

    def stop(self) -> None:
        """Have the server end its connections and go."""
        self._end(self.stop_signal)

    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def restart(self) -> None:
        """Stop the server and start it again."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """End the server and all its processes at once, without a chance to finish anything."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGSTOP)  # So that it starts no others meanwhile.
        family = [self._process.pid, *children(self._process.pid)]
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(TIMEOUT)
        self._process = None
        wait_until(lambda: not any(map(lives, family)), lambda: f"{family} do not end.")

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(TIMEOUT)
            self._process = None

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"The server has ended: {self.log.read_text()}")
        try:
            self.connect().close()
        except Exception:
            return False
        return True

    def _run(self, *command: str) -> None:
        done = subprocess.run(  # noqa: S603
            command,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
            cwd=self.directory,
            **self._as_account(),
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _as_account(self) -> dict[str, Any]:
        if os.geteuid() != 0:
            return {}
        return {"user": self.account, "group": self.account, "extra_groups": []}


class PostgreSQL(Server):
    account = "postgres"
    emptying: ClassVar[list[str]] = ["DROP SCHEMA public CASCADE", "CREATE SCHEMA public"]
    stop_signal = signal.SIGINT  # Its "fast" shutdown; on SIGTERM it waits for its clients to go.

    @property
    def database(self) -> dict[str, Any]:
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "USER": "postgres",
            "HOST": str(self.directory),
        }

    def initialise(self) -> None:
        initdb = postgresql_program("initdb")
        self._run(initdb, "-D", str(self.data), "-U", "postgres", "-A", "trust", "--no-sync")

    def command(self) -> list[str]:
        # Without fsync a loss of power loses data, but not the death of the processes.
        options = [
            "listen_addresses=",
            f"unix_socket_directories={self.directory}",
            "fsync=off",
            *self.options,
        ]
        postgres = postgresql_program("postgres")
        return [postgres, "-D", str(self.data), *(f"--{option}" for option in options)]

    def connect(self) -> Any:
        psycopg = pytest.importorskip("psycopg")
        return psycopg.connect(host=str(self.directory), user="postgres", dbname="postgres")


class MariaDB(Server):
    account = "mysql"
    emptying: ClassVar[list[str]] = ["DROP DATABASE botsessions", "CREATE DATABASE botsessions"]

    @property
    def database(self) -> dict[str, Any]:
        return {
            "ENGINE": "django.db.backends.mysql",
            "NAME": "botsessions",
            "USER": "root",
            "HOST": self._socket,
            "OPTIONS": {"charset": "utf8mb4"},
        }

    def initialise(self) -> None:
        self._run(
            program("mariadb-install-db"),
            "--no-defaults",
            f"--datadir={self.data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
            "--innodb-log-file-size=8M",
        )
        (self.data / "botsessions").mkdir()  # What CREATE DATABASE does.
        if os.geteuid() == 0:
            shutil.chown(self.data / "botsessions", self.account, self.account)

    def command(self) -> list[str]:
        return [
            program("mariadbd"),
            "--no-defaults",
            f"--datadir={self.data}",
            f"--socket={self._socket}",
            f"--pid-file={self.directory / 'pid'}",
            "--skip-networking",
            # A commit reaches the system, not the disk: enough when only processes die.
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-buffer-pool-size=32M",
            "--innodb-log-file-size=8M",
            *(f"--{option}" for option in self.options),
        ]

    def connect(self) -> Any:
        driver = pytest.importorskip("MySQLdb")
        return driver.connect(unix_socket=self._socket, user="root", database="botsessions")

    @property
    def _socket(self) -> str:
        return str(self.directory / "socket")


SERVERS: dict[str, type[Server]] = {"postgresql": PostgreSQL, "mariadb": MariaDB}


@contextmanager
def running(name: str, *options: str) -> Iterator[Server]:
    """Run a server of one's own, ``options`` as on its command line without the dashes."""
    kind = SERVERS[name]
    directory = Path(tempfile.mkdtemp(prefix="botsessions-"))
    server = kind(directory, options)
    try:
        if os.geteuid() == 0:
            shutil.chown(directory, kind.account, kind.account)
        server.initialise()
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(directory, ignore_errors=True)


def needed(name: str) -> None:
    """Skip the test if the server's programs are not installed; in CI, fail."""
    missing = missing_programs(name)
    if missing and os.environ.get("CI") == "true":
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)


def missing_programs(name: str) -> str | None:
    try:
        if name == "postgresql":
            pytest.importorskip("psycopg")
            postgresql_program("initdb")
        else:
            pytest.importorskip("MySQLdb")
            program("mariadbd")
            program("mariadb-install-db")
    except (FileNotFoundError, pytest.skip.Exception) as exc:
        return str(exc)
    return None


def postgresql_program(name: str) -> str:
    """Return the path of a program of PostgreSQL's newest version here."""
    versions = Path("/usr/lib/postgresql").glob("[0-9]*/bin")
    newest = sorted(versions, key=lambda path: float(path.parent.name), reverse=True)
    return program(name, *map(str, newest))


def program(name: str, *directories: str) -> str:
    path = os.pathsep.join([*directories, os.environ.get("PATH", ""), *DIRECTORIES])
    found = shutil.which(name, path=path)
    if found is None:
        raise FileNotFoundError(f"The program {name} is not installed.")
    return found


def children(parent: int) -> list[int]:
    """Return the processes that a process has started, and those that they have started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if process_stat(stat)[1] == str(parent):
                pid = int(stat.parent.name)
                found += [pid, *children(pid)]
    return found


def lives(pid: int) -> bool:
    try:
        return process_stat(Path(f"/proc/{pid}/stat"))[0] not in "ZX"
    except OSError:
        return False


def process_stat(path: Path) -> list[str]:
    """Return a process's state, parent and so on: what follows its name, which is in brackets."""
    return path.read_text().rpartition(")")[2].split()


def wait_until(
    condition: Callable[[], object], problem: Callable[[], str], timeout: float = TIMEOUT
) -> None:
    """Wait until something is so; fail if it is not in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, problem()
        time.sleep(0.02)
