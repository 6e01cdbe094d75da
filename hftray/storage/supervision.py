"""An embedded PostgreSQL that is started again whenever it dies."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hftray.core.errors import StopError
from hftray.observe import logger
from hftray.storage import embedded

log = logger("postgres")

LOOK_INTERVAL = 0.5  # seconds between looks whether the server lives


@contextmanager
def kept_running(data_dir: Path) -> Iterator[embedded.EmbeddedServer]:
    """The running server of the data directory, stopped at the end.

    Its address stays the same when it is started again. StopError when it does not start at first;
    later failures are logged and tried again.
    """
    server = embedded.start(data_dir)
    end_watch = watch(data_dir)
    try:
        yield server
    finally:
        end_watch()
        server.stop()


def watch(data_dir: Path) -> Callable[[], None]:
    """Start the server again whenever it is found dead; the answer ends that."""
    over = threading.Event()
    thread = threading.Thread(target=_watch, args=(data_dir, over), name="postgres", daemon=True)
    thread.start()

    def end() -> None:
        over.set()
        thread.join()

    return end


def _watch(data_dir: Path, over: threading.Event) -> None:
    while not over.wait(LOOK_INTERVAL):
        if embedded.is_running(data_dir):
            continue
        log.warning("PostgreSQL died, starting it again")
        try:
            embedded.start(data_dir)
        except (StopError, OSError) as error:
            log.error("PostgreSQL does not start", reason=str(error))
