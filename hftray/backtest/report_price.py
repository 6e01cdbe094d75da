"""A symbol's price with every entry and exit on it, and why."""

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import plotly.graph_objects as go

from hftray.backtest.history import SymbolHistory
from hftray.backtest.outcome import RoundTrip
from hftray.backtest.report_charts import (
    GAIN,
    GRID,
    INK,
    LINE,
    LOSS,
    Chart,
    blank,
    clock_of_seconds,
    escaped,
    india,
    styled,
    wall_clock,
)
from hftray.backtest.report_figures import charges, net, outline, sides
from hftray.backtest.report_numbers import grouped, moment_text, rupees_text, span_text, words
from hftray.core.candles import Candles, Ints
from hftray.core.orders import Side

MOST_CANDLESTICKS = 800
POINTS = 120_000
"""Points of all symbols' price lines together; a symbol gets 2,000 to 20,000 of them."""

NEARBY = 30
"""Candles on both sides of a trade whose closes are all drawn, so that one can zoom in on it."""

MOST_MARKED = 2_000
"""Trades marked on one symbol's price: the newest."""


def price_charts(
    histories: Sequence[SymbolHistory], trips: Sequence[RoundTrip]
) -> list[tuple[str, Chart]]:
    """Each symbol with its chart, in the run's order; symbols without a played candle not."""
    played = [history for history in histories if history.start < len(history.candles)]
    points = min(20_000, max(2_000, POINTS // max(1, len(played))))
    return [
        (
            history.symbol,
            price_chart(
                history, [trip for trip in trips if trip.closed.symbol == history.symbol], points
            ),
        )
        for history in played
    ]


def price_chart(history: SymbolHistory, trips: Sequence[RoundTrip], points: int) -> Chart:
    """The price of the played days with what was done at it; needs a played candle."""
    candles = history.candles.tail(len(history.candles) - history.start)
    figure = blank(480, hovermode="closest", dragmode="zoom")
    note = _draw_price(figure, candles, trips, points)
    marked = trips[-MOST_MARKED:]
    if len(marked) < len(trips):
        note += f" The newest {grouped(len(marked))} of {grouped(len(trips))} trades are marked."
    _draw_holdings(figure, marked)
    _draw_entries(figure, marked)
    _draw_exits(figure, marked)
    styled(figure).update_xaxes(
        type="date", rangeslider={"visible": False}, rangebreaks=_closed_hours(candles),
        hoverformat="%d %b %Y %H:%M",
    )  # fmt: skip
    figure.update_yaxes(title="₹", tickformat=",")
    won = sum(net(trip) > 0 for trip in trips)
    said = (
        f"{history.symbol}: {grouped(len(candles))} candles, {rupees_text(candles.open[0])} to "
        f"{rupees_text(candles.close[-1])}; {grouped(len(trips))} trades, {grouped(won)} won."
    )
    return Chart(f"price:{history.symbol}", figure.to_json(), said, note.strip())


def _draw_price(
    figure: go.Figure, candles: Candles, trips: Sequence[RoundTrip], points: int
) -> str:
    # Fills carry the moment their candle closed, so the closes stand there, too.
    times = clock_of_seconds(candles.time + _length(candles))
    if len(candles) <= MOST_CANDLESTICKS:
        figure.add_candlestick(
            x=times, open=candles.open, high=candles.high, low=candles.low, close=candles.close,
            name="price", showlegend=False,
            increasing={"line": {"color": LINE, "width": 1}, "fillcolor": GRID},
            decreasing={"line": {"color": LINE, "width": 1}, "fillcolor": LINE},
        )  # fmt: skip
        return (
            "Hollow candles close above their open, filled ones below; each stands where it closed."
        )
    kept = _kept(candles, trips, points)
    figure.add_scatter(
        x=times[kept], y=candles.close[kept].astype(np.float32), name="close", mode="lines",
        showlegend=False, line={"color": LINE, "width": 1}, hovertemplate="₹%{y:,.2f}",
    )  # fmt: skip
    if len(kept) == len(candles):
        return ""
    return (
        f"The line is drawn from {grouped(len(kept))} of {grouped(len(candles))} closes: each "
        "stretch keeps its first, lowest, highest and last, and the newest trades all closes "
        "around them. Entries and exits are exact."
    )


def _kept(candles: Candles, trips: Sequence[RoundTrip], points: int) -> Ints:
    """Places of the closes to draw: all, or an outline and what lies around the newest trades."""
    if len(candles) <= points:
        return np.arange(len(candles))
    newest = trips[-(points // 2 // (2 * NEARBY)) :]
    entered = [trip.closed.entry_time.timestamp() for trip in newest]
    places = candles.time.searchsorted(entered)[:, np.newaxis] + np.arange(-NEARBY, NEARBY)
    around = places[(places >= 0) & (places < len(candles))]
    return np.union1d(outline(candles.close, points // 2), around)


def _draw_holdings(figure: go.Figure, trips: Sequence[RoundTrip]) -> None:
    """A thin line from each entry to its exit."""
    for color, wanted in ((GAIN, True), (LOSS, False)):
        some = [trip for trip in trips if (net(trip) > 0) == wanted]
        if not some:
            continue
        times = np.full((len(some), 3), np.nan)
        times[:, 0] = wall_clock([trip.closed.entry_time for trip in some])
        times[:, 1] = wall_clock([trip.exit.timestamp for trip in some])
        prices = np.full((len(some), 3), np.nan)
        prices[:, 0] = [float(trip.closed.entry_price) for trip in some]
        prices[:, 1] = [float(trip.exit.price or 0) for trip in some]
        figure.add_scatter(
            x=times.ravel(), y=prices.ravel(), mode="lines", hoverinfo="skip", showlegend=False,
            line={"color": color, "width": 1.5, "dash": "dot"}, connectgaps=False,
        )  # fmt: skip


def _draw_entries(figure: go.Figure, trips: Sequence[RoundTrip]) -> None:
    for side, symbol, label in (
        (Side.BUY, "triangle-up", "bought"),
        (Side.SELL, "triangle-down", "sold short"),
    ):
        some = [trip for trip in trips if trip.closed.side is side]
        if some:
            figure.add_scatter(
                x=wall_clock([trip.closed.entry_time for trip in some]),
                y=[float(trip.closed.entry_price) for trip in some],
                mode="markers", name=label, text=[_entry_text(trip) for trip in some],
                hovertemplate="%{text}<extra></extra>",
                marker={"symbol": symbol, "size": 10, "color": INK},
            )  # fmt: skip


def _draw_exits(figure: go.Figure, trips: Sequence[RoundTrip]) -> None:
    for label, symbol, color, wanted in (
        ("left with a gain", "circle", GAIN, True),
        ("left with a loss", "x", LOSS, False),
    ):
        some = [trip for trip in trips if (net(trip) > 0) == wanted]
        if some:
            figure.add_scatter(
                x=wall_clock([trip.exit.timestamp for trip in some]),
                y=[float(trip.exit.price or 0) for trip in some],
                mode="markers", name=label, text=[_exit_text(trip) for trip in some],
                hovertemplate="%{text}<extra></extra>",
                marker={"symbol": symbol, "size": 8, "color": color},
            )  # fmt: skip


def _entry_text(trip: RoundTrip) -> str:
    held = trip.closed
    agreed, against = sides(trip)
    lines = [
        f"<b>{held.side.value} {grouped(held.quantity)} at {rupees_text(held.entry_price)}</b>",
        moment_text(held.entry_time),
        f"score {held.score:+.2f}; agreed: {', '.join(map(escaped, agreed)) or 'nobody'}",
    ]
    if against:
        lines.append(f"against: {', '.join(map(escaped, against))}")
    lines.append(f"stop {rupees_text(held.stop_loss)}, target {rupees_text(held.take_profit)}")
    return "<br>".join(lines)


def _exit_text(trip: RoundTrip) -> str:
    held, leaving = trip.closed, trip.exit
    agreed, _ = sides(trip)
    lasted = leaving.timestamp - held.entry_time
    return "<br>".join(
        [
            f"<b>{escaped(words(leaving.reason))}: {rupees_text(net(trip), signed=True)} net</b>",
            f"{moment_text(leaving.timestamp)}, after {span_text(lasted)}",
            f"{held.side.value} {grouped(held.quantity)}: {rupees_text(held.entry_price)} to "
            f"{rupees_text(leaving.price)}",
            f"gross {rupees_text(leaving.gross_pnl or Decimal(0), signed=True)}, "
            f"charges {rupees_text(charges(trip))}",
            f"entered by {', '.join(map(escaped, agreed)) or 'nobody'}",
        ]
    )


def _closed_hours(candles: Candles) -> list[dict[str, object]]:
    """What the axis of time leaves out: nights and, where no candle lies on one, weekends."""
    breaks: list[dict[str, object]] = []
    if not np.isin((candles.day - 1) % 7, (5, 6)).any():
        breaks.append({"bounds": ["sat", "mon"]})
    seconds = (candles.time + int(india().total_seconds())) % 86_400
    # With air on both sides, or what happens at the day's first and last moment would be cut off.
    opens = max(0.0, seconds.min() / 3600 - 0.25)
    closes = min(24.0, (seconds.max() + _length(candles)) / 3600 + 0.25)
    if closes - opens < 20 and candles.day[0] != candles.day[-1]:
        breaks.append({"bounds": [closes, opens], "pattern": "hour"})
    return breaks


def _length(candles: Candles) -> int:
    """Seconds from a candle's open to its close."""
    steps = np.diff(candles.time)
    return int(steps.min()) if len(steps) else 0
