"""What `hftray sweep` and `hftray walk-forward` share: data, workers, results on disk, progress."""

import hashlib
import json
import logging
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from hftray import ray_start
from hftray.backtest.history import SymbolHistory
from hftray.backtest.loading import load_history, require_symbols
from hftray.backtest.order import BacktestOrder
from hftray.backtest.players import Alone, Player, Players, explore
from hftray.backtest.runner import Terms
from hftray.backtest.search import Method, Search
from hftray.backtest.space import Space
from hftray.backtest.sweep import (
    HIGHER_IS_BETTER,
    Ground,
    Result,
    Window,
    ranked,
)
from hftray.backtest.trial_file import TrialFile
from hftray.ports import Feed
from hftray.strategies.plugins import StrategyFile

NOT_WORTH_IT = 10.0  # seconds of work; below it, starting Ray takes longer than it saves


@dataclass(frozen=True, slots=True)
class Plan:
    """What is studied, and with how much force. `count` is None for a grid."""

    order: BacktestOrder
    ground: Ground
    method: Method
    count: int | None
    metric: str
    seed: int
    params: tuple[str, ...]
    folds: Mapping[str, Any] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """Everything that results depend on, as JSON values; how many sets there are is none."""
        identity = {
            "symbols": list(self.order.symbols),
            "from": self.order.start_date,
            "to": self.order.end_date,
            "candles": self.ground.fingerprint(),
            "params": list(self.params),
            "method": self.method,
            "seed": self.seed,
            "metric": self.metric,
            "capital": self.order.initial_capital,
            "charges": self.order.charges,
            "slippage_bps": self.ground.slippage_bps,
            "roster": [
                {"kind": row["kind"], "parameters": row["parameters"]} for row in self.order.roster
            ],
            "rules": asdict(self.ground.space.rules),
            **({"draws": "PCG64"} if self.method is Method.RANDOM else {}),
            **self.folds,
        }
        plain: dict[str, Any] = json.loads(json.dumps(identity, default=str))
        return plain

    def folder(self, data_dir: Path) -> Path:
        """Where results go unless told otherwise: the same place for the same study."""
        mark = hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()
        return data_dir / "sweeps" / mark[:12]

    def search(self, known: Sequence[Result]) -> Search:
        """The sets still to be played. ConfigError."""
        return Search(
            self.ground.space,
            self.method,
            self.count,
            seed=self.seed,
            maximise=HIGHER_IS_BETTER[self.metric],
            known=[(result.chosen, result.figures[self.metric]) for result in known],
        )


async def load_ground(
    terms: Terms,
    order: BacktestOrder,
    params: Sequence[str],
    files: tuple[StrategyFile, ...] = (),
) -> Ground:
    """The order's candles and the space over its voters. ConfigError, DataError, NotFound."""
    space = Space.parse(params, order.roster, terms.rules)
    feed = terms.build_feed()
    instruments = await require_symbols(feed, order.symbols)
    histories = [await _history(feed, terms, order, share) for share in instruments.values()]
    await feed.close()
    slippage = terms.slippage_bps if order.slippage_bps is None else order.slippage_bps
    capital = order.initial_capital
    return Ground(tuple(histories), space, terms.charges, capital, slippage, files)


async def _history(feed: Feed, terms: Terms, order: BacktestOrder, share: Any) -> SymbolHistory:
    signals = terms.rules.signals
    minutes = signals.candle_minutes
    return await load_history(
        feed, share, order, data_minutes=minutes, interval=minutes, warm_up=signals.candle_buffer
    )


# Workers


@contextmanager
def players(ground: Ground, count: int | None, address: str | None) -> Iterator[Players]:
    """Workers for as long as the block lasts; a single one is this process itself."""
    if count == 1 and address is None:
        yield Alone(ground)
        return
    from hftray.actors.workers import Workers

    with ray_cluster(address, count):
        yield Workers(Player, count, ground)


@contextmanager
def ray_cluster(
    address: str | None, cores: int | None, files: Sequence[StrategyFile] = ()
) -> Iterator[None]:
    """A Ray of our own with so many cores, or one that runs already."""
    with tempfile.TemporaryDirectory(prefix="hftray-", ignore_cleanup_errors=True) as private:
        ray_start.prepare_ray_environment(Path(private))
        import ray

        own: dict[str, Any] = {"num_cpus": cores, "include_dashboard": False}
        logging.getLogger("ray").setLevel(logging.ERROR)
        with ray_start.deferred_interrupts():  # Ray does not survive one in the middle of its start
            ray.init(
                address=address or "local",
                namespace="hftray",
                log_to_driver=False,
                logging_level=logging.ERROR,
                **({} if address else own),
            )
        try:
            yield
        finally:
            ray.shutdown()


def worker_count(wanted: int | None, address: str | None, ground: Ground, sets: int) -> int | None:
    """As many as asked for; else one where that is quick enough, and otherwise every core here.

    None is every core of the cluster that was named.
    """
    if wanted is not None or address is not None:
        return wanted
    began = time.perf_counter()
    Player(ground)(None, [{}])
    if (time.perf_counter() - began) * sets < NOT_WORTH_IT:
        return 1
    return len(os.sched_getaffinity(0))


# Going through it


@dataclass(slots=True)
class Study:
    """A plan under way: every result goes to the file before anything else happens to it."""

    plan: Plan
    file: TrialFile
    screen: Console
    infeasible: int = 0
    played: int = 0
    seconds: float = 0.0

    def run(self, crew: Players, fold: int, window: Window | None, title: str) -> list[Result]:
        """All results of a fold, those of an earlier run included. KeyboardInterrupt stops it."""
        finished = self.file.folds.setdefault(fold, [])
        search = self.plan.search(finished)
        began, before = time.perf_counter(), len(finished)
        best: list[Result] = []

        def found(results: Sequence[Result]) -> None:
            self.file.add(fold, results)
            best[:] = ranked([*best, *results], self.plan.metric)[:1]
            rate = (len(finished) - before) / (time.perf_counter() - began)
            bar.update(
                task, completed=len(finished), rate=f"{rate:.0f} sets/s", best=self._best(best)
            )

        try:
            with _progress(self.screen) as bar:
                task = bar.add_task(title, total=search.count, rate="", best="")
                best[:] = ranked(finished, self.plan.metric)[:1]
                explore(search, crew, self.plan.metric, found, window=window)
        finally:
            self.seconds += time.perf_counter() - began
            self.infeasible += search.infeasible
            self.played += len(finished) - before
        return finished

    def _best(self, best: Sequence[Result]) -> str:
        metric = self.plan.metric
        return f"best {metric} {best[0].figures[metric]:,.3f}" if best else ""


def _progress(screen: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[best]}"),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    )


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM stops like Ctrl-C: what is finished is kept."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
