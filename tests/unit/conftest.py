"""Unit tests run without Ray: whoever starts it is told at once."""

import pytest
import ray


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise AssertionError("a unit test started Ray; it belongs in tests/integration")

    monkeypatch.setattr(ray, "init", refuse)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Groww broker looks as often as ever, and waits a fraction of the seconds in between."""
    groww = "hftray.adapters.groww"
    monkeypatch.setattr(f"{groww}.order_changer.CONFIRM_WAITS", (0.0, 0.01, 0.02, 0.04))
    monkeypatch.setattr(f"{groww}.lane._FIRST_PAUSE", 0.05)
