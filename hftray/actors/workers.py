"""A pool of workers for calls that only compute, on every core of the cluster."""

from functools import lru_cache
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from hftray.core.errors import HftrayError, RetryError


class Workers:
    """A callable on every worker of the cluster, made of one class and the same arguments.

    The arguments go to the object store once; what a callable keeps between calls (a cache) is its
    own. Calls must only compute: those of a worker that died are made again, up to three times.
    Calls nobody waits for are left to run out: cancelling one that is just ending aborts the whole
    process (Ray 2.60).
    """

    def __init__(self, shell: type, count: int | None, *arguments: Any) -> None:
        """At most `count` calls at a time, or as many as there are cores."""
        cores = int(ray.cluster_resources().get("CPU", 1))
        # With all cores in use, another call for each waits already when it is done.
        self.at_once = 2 * cores if count is None or count >= cores else count
        self._shared = [ray.put(argument) for argument in arguments]
        self._task: Any = ray.remote(num_cpus=1, max_retries=3)(_call_kept)
        self._shell = shell
        self._calls: list[Any] = []

    @property
    def free(self) -> bool:
        """Whether another call is welcome now."""
        return len(self._calls) < self.at_once

    @property
    def busy(self) -> bool:
        """Whether any call has not been answered."""
        return bool(self._calls)

    def submit(self, *arguments: Any) -> None:
        """Call it on some worker."""
        self._calls.append(self._task.remote(self._shell, self._shared, *arguments))

    def take(self) -> Any:
        """The answer to some call, as soon as there is one.

        An HftrayError of the call is raised as it is, RetryError when its workers died.
        """
        (ready,), self._calls = ray.wait(self._calls, num_returns=1)
        try:
            return ray.get(ready)
        except RayTaskError as error:
            if isinstance(error.cause, HftrayError):
                raise error.cause from None
            raise
        except RayError as error:
            raise RetryError(f"a worker died ({type(error).__name__})") from error


def _call_kept(shell: type, shared: list[Any], *arguments: Any) -> Any:
    return _kept(shell, *shared)(*arguments)


@lru_cache(maxsize=1)
def _kept(shell: type, *shared: Any) -> Any:
    """One for the process, which outlives its calls."""
    return shell(*ray.get(list(shared)))
