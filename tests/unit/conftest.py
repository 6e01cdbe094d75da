"""Unit tests run without Ray: whoever starts it is told at once."""

import pytest
import ray


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise AssertionError("a unit test started Ray; it belongs in tests/integration")

    monkeypatch.setattr(ray, "init", refuse)
