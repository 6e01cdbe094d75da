"""Where started systems keep their files."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def system_directory() -> Iterator[Path]:
    """A directory outside pytest's own, which every pytest session on the machine closes again
    to PostgreSQL's user when the tests run as root.
    """
    with tempfile.TemporaryDirectory(prefix="hftray-e2e-", ignore_cleanup_errors=True) as path:
        yield Path(path)
