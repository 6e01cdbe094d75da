"""What a report says beyond the metrics: months, exits, who voted for what, the thinned line.

Plain values without looks; `report_charts` draws them and the page's template writes them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np

from hftray.backtest.outcome import RoundTrip
from hftray.core.candles import Floats, Ints
from hftray.core.metrics import EquityCurve
from hftray.core.money import ZERO
from hftray.core.session import IST


def net(trip: RoundTrip) -> Decimal:
    """What the round trip earned after all charges, in rupees."""
    return trip.exit.pnl or ZERO


def charges(trip: RoundTrip) -> Decimal:
    """What both of its legs cost, in rupees."""
    return trip.entry_charges + (trip.exit.charges or ZERO)


def monthly_returns(
    curve: EquityCurve, *, initial_capital: Decimal
) -> dict[int, dict[int, float | None]]:
    """Percent gained by year and month (India's), each on the equity the month began with.

    Key 0 of a year is the whole year. None where a month began with nothing to lose.
    """
    years: dict[int, dict[int, float | None]] = {}
    month_began = year_began = before = initial_capital
    present: tuple[int, int] | None = None
    for moment, equity in curve:
        local = moment.astimezone(IST)
        if present is None or present != (local.year, local.month):
            month_began = before
            year_began = before if present is None or present[0] != local.year else year_began
            present = (local.year, local.month)
        months = years.setdefault(local.year, {})
        months[local.month] = _gain(equity, month_began)
        months[0] = _gain(equity, year_began)
        before = equity
    return years


def _gain(equity: Decimal, began: Decimal) -> float | None:
    return float(equity / began - 1) * 100 if began > ZERO else None


@dataclass(slots=True)
class Tally:
    """Round trips of one sort: how many, how many won, and what they brought in rupees."""

    trades: int = 0
    wins: int = 0
    net: Decimal = ZERO
    won: Decimal = ZERO
    lost: Decimal = ZERO
    opposed: int = 0

    def add(self, share: Decimal, *, won: bool) -> None:
        """Count one round trip of which this sort carries `share` rupees."""
        self.trades += 1
        self.wins += won
        self.net += share
        if share > ZERO:
            self.won += share
        else:
            self.lost += share

    @property
    def win_rate(self) -> float | None:
        """Wins of its trades, 0..1."""
        return self.wins / self.trades if self.trades else None

    @property
    def mean(self) -> Decimal | None:
        """Rupees a trade."""
        return self.net / self.trades if self.trades else None


def by_exit(trips: Iterable[RoundTrip]) -> dict[str, Tally]:
    """Round trips by why they ended, the most frequent reason first."""
    tallies: dict[str, Tally] = {}
    for trip in trips:
        tallies.setdefault(trip.exit.reason, Tally()).add(net(trip), won=net(trip) > ZERO)
    return dict(sorted(tallies.items(), key=lambda pair: -pair[1].trades))


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who was behind the trades. `nobody` is what no named voter agreed to."""

    voters: dict[str, Tally] = field(default_factory=dict)
    nobody: Tally = field(default_factory=Tally)


def attribute(trips: Iterable[RoundTrip], weights: Mapping[str, float]) -> Attribution:
    """Share each round trip's net P&L among the voters that agreed with its side.

    Shares go by weight (1 for a voter without one), so they add up to the P&L of all trades.
    Voters of `weights` that never voted with a trade are listed too; best voter first.
    """
    voters = {name: Tally() for name in weights}
    nobody = Tally()
    for trip in trips:
        agreed, against = sides(trip)
        whole = sum((_weight(name, weights) for name in agreed), ZERO)
        if not agreed:
            nobody.add(net(trip), won=net(trip) > ZERO)
        for name in agreed:
            share = net(trip) * _weight(name, weights) / whole
            voters.setdefault(name, Tally()).add(share, won=net(trip) > ZERO)
        for name in against:
            voters.setdefault(name, Tally()).opposed += 1
    best_first = sorted(voters.items(), key=lambda pair: -pair[1].net)
    return Attribution(dict(best_first), nobody)


def sides(trip: RoundTrip) -> tuple[list[str], list[str]]:
    """The voters that wanted the trade's side, and those that wanted the other."""
    sign = trip.closed.side.sign
    votes = trip.closed.votes.items()
    return [n for n, vote in votes if vote == sign], [n for n, vote in votes if vote == -sign]


def _weight(name: str, weights: Mapping[str, float]) -> Decimal:
    return Decimal(str(weights.get(name, 1.0)))


def outline(values: Floats, most: int) -> Ints:
    """Places of at most `most` values that draw the line all of them would draw.

    Of each of equally long stretches it keeps the first, lowest, highest and last value, as
    many as a screen's column of pixels can show (U. Jugel et al., "M4: A Visualization-Oriented
    Time Series Data Aggregation", 2014). All places where there are no more than `most`.
    """
    if len(values) <= most:
        return np.arange(len(values))
    edges = np.linspace(0, len(values), max(1, most // 4) + 1).astype(np.int64)
    kept: set[int] = set()
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        stretch = values[start:end]
        kept |= {start, start + int(stretch.argmin()), start + int(stretch.argmax()), end - 1}
    return np.array(sorted(kept), dtype=np.int64)


def histogram_edges(values: Sequence[float]) -> Floats:
    """Edges of equal bins with one edge at 0, so that no bin mixes gains and losses.

    At least twice the cube root of the number of values (the Rice rule), 8 to 40, and at most 2.5
    times as many, for a width is 1, 2 or 5 times a power of ten.
    """
    low, high = min(0.0, *values), max(0.0, *values)
    bins = min(40, max(8, round(2 * len(values) ** (1 / 3))))
    rough = (high - low) / bins or 1.0
    power = 10.0 ** np.floor(np.log10(rough))
    width = next(step * power for step in (5.0, 2.0, 1.0) if step * power <= rough * 1.001)
    first, last = int(np.floor(low / width)), int(np.ceil(high / width))
    return np.arange(first, max(last, first + 1) + 1) * width
