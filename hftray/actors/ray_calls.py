"""Ray's primitives: the actors' names and options, calls to them, a task whose items come as made.

Calls that can place an order or change the book are never retried by Ray: an error may come
after success, so it surfaces as UnknownOutcome and the caller looks the order up. Reads and
idempotent appends surface as RetryError.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from hftray.core.errors import HftrayError, RetryError
from hftray.observe import logger

log = logger("handles")

NAMESPACE = "hftray"
ENGINE, RISK, PERSISTENCE, BROKER = "engine", "risk", "persistence", "broker"
BACKTESTS = "backtests"
LONG_LIVED = {"lifetime": "detached", "max_restarts": -1, "max_task_retries": 0}
# Actors whose files lie on the head node's disk, and their neighbours, stay there.
ON_HEAD = {"resources": {"node:__internal_head__": 0.001}}
SPREAD = {"num_cpus": 0.1, "scheduling_strategy": "SPREAD"}
CALL_TIMEOUT = 30.0  # seconds after which the actor called is taken for lost
START_TIMEOUT = 300.0  # the same while many processes start at once


def symbol_actor(symbol: str) -> str:
    """The actor name of a symbol."""
    return f"symbol:{symbol}"


def create(name: str, shell: type, *args: Any, spread: bool = False, **kwargs: Any) -> None:
    """Start a named, detached actor, on the head node unless it may be anywhere.

    ValueError when the name is taken.
    """
    actor: Any = ray.remote(shell)
    place = SPREAD if spread else {"num_cpus": 0, **ON_HEAD}
    options = {"name": name, "namespace": NAMESPACE, **place, **LONG_LIVED}
    actor.options(**options).remote(*args, **kwargs)


def shared(name: str, shell: type, *args: Any) -> Any:
    """Ray's handle of a detached actor on the head node, started by whoever asks first."""
    actor: Any = ray.remote(shell)
    options = {"name": name, "namespace": NAMESPACE, "num_cpus": 0, **ON_HEAD, **LONG_LIVED}
    return actor.options(**options, get_if_exists=True).remote(*args)


def kill(name: str) -> bool:
    """End a named actor for good; False when there is none."""
    try:
        ray.kill(ray.get_actor(name, namespace=NAMESPACE), no_restart=True)
    except ValueError:
        return False
    return True


def living() -> list[str]:
    """Names of hftray's actors on this cluster."""
    named = ray.util.list_named_actors(all_namespaces=True)
    return sorted(a["name"] for a in named if a["namespace"] == NAMESPACE)


class Named:
    """A named actor, resolved when first used and again after it died."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._handle: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _revive, (type(self), self.name)

    async def ask(
        self,
        method: str,
        *args: Any,
        lost: type[HftrayError] = RetryError,
        patience: float = CALL_TIMEOUT,
    ) -> Any:
        """Call and await; a dead, unreachable or silent actor raises `lost`."""
        try:
            if self._handle is None:
                self._handle = ray.get_actor(self.name, namespace=NAMESPACE)
        except ValueError as error:
            raise RetryError(f"actor {self.name} does not exist") from error
        try:
            async with asyncio.timeout(patience):
                return await getattr(self._handle, method).remote(*args)
        except RayTaskError as error:
            if isinstance(error.cause, HftrayError):
                raise error.cause from None  # without Ray's traceback in its message
            # A fault in the actor's code: what it did before is unknown.
            log.error("actor failed", actor=self.name, method=method, error=str(error))
            raise lost(f"{self.name}.{method} failed: {error.cause!r}") from error
        except RayError as error:
            self._handle = None
            raise lost(f"{self.name}.{method}: {type(error).__name__}") from error
        except TimeoutError as error:
            raise lost(f"{self.name}.{method}: no answer in {patience:.0f} s") from error


def _revive(kind: type[Named], name: str) -> Named:
    handle = kind.__new__(kind)
    Named.__init__(handle, name)
    return handle


async def stream_task(function: Any, *args: Any) -> AsyncGenerator[Any, None]:
    """Run a generator function on any worker; its items as they come. Closing it ends the task."""
    task: Any = ray.remote(_each)
    items = task.options(num_cpus=0, num_returns="streaming").remote(function, *args)
    try:
        async for item in items:
            yield await item
    except RayTaskError as error:
        if isinstance(error.cause, HftrayError):
            raise error.cause from None
        raise
    finally:
        ray.cancel(items)  # nothing happens to one that has ended


def _each(function: Any, *args: Any) -> Iterator[Any]:
    yield from function(*args)
