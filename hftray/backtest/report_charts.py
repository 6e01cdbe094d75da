"""The charts of a report, drawn by plotly; each is a figure's JSON and what it shows in words.

Colours are those of light paper; `PALETTE` says what the page makes of them in the dark. Gains are
blue and losses orange, which every kind of colour vision keeps apart. Times are India's wall clock,
for plotly's axes know no time zones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from hftray.backtest.report_figures import Attribution, histogram_edges, outline
from hftray.backtest.report_numbers import (
    grouped,
    moment_text,
    percent_text,
    rupees_text,
)
from hftray.core.candles import Floats
from hftray.core.metrics import EquityCurve
from hftray.core.session import IST

INK, MUTED, GRID = "#1f2a37", "#5b6875", "#e3e8ee"
GAIN, LOSS, LOSS_WASH = "#0a6cb4", "#c4480e", "#f6ddd0"
LINE, MARKET, PAPER = "#22405c", "#8a97a5", "#fcfdfe"

PALETTE = {
    INK: "#e6eaf0", MUTED: "#9ba7b4", GRID: "#2b3541", GAIN: "#5db5f2", LOSS: "#ff9b61",
    LOSS_WASH: "#4b2d1f", LINE: "#c3d6e8", MARKET: "#748292", PAPER: "#151b22",
}  # fmt: skip
"""Light colour to dark colour."""

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif"

CURVE_POINTS = 4_000


@dataclass(frozen=True, slots=True)
class Chart:
    """One drawing: plotly's JSON, what it shows for those who cannot see it, a note below it."""

    name: str
    figure: str
    says: str
    note: str = ""


def blank(height: int, **layout: Any) -> go.Figure:
    """An empty figure in the report's style; `layout` adds to it."""
    style = {
        "template": "none",
        "height": height,
        "margin": {"l": 64, "r": 16, "t": 12, "b": 40},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 12, "color": MUTED},
        "hoverlabel": {
            "align": "left", "bgcolor": PAPER, "bordercolor": MUTED,
            "font": {"family": FONT, "size": 12, "color": INK},
        },
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": MUTED, "activecolor": INK},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    }  # fmt: skip
    return go.Figure(layout=style | layout)


def styled(figure: go.Figure) -> go.Figure:
    """The figure with the axes every chart has."""
    axis = {"gridcolor": GRID, "zeroline": False, "linecolor": GRID, "automargin": True}
    figure.update_xaxes(**axis, showgrid=False, showline=True)
    figure.update_yaxes(**axis, separatethousands=True)
    return figure


def wall_clock(moments: Sequence[datetime]) -> Floats:
    """Milliseconds since 1970 as a clock in India would count them."""
    return clock_of_seconds(np.array([moment.timestamp() for moment in moments]))


def clock_of_seconds(seconds: Any) -> Floats:
    """The same of epoch seconds."""
    shifted: Floats = (np.asarray(seconds, dtype=np.float64) + india().total_seconds()) * 1000.0
    return shifted


def india() -> timedelta:
    """How far India's clocks are ahead of UTC."""
    return IST.utcoffset(None) or timedelta()


def equity_chart(
    curve: EquityCurve,
    *,
    began: datetime,
    initial_capital: Decimal,
    market: EquityCurve = (),
) -> Chart:
    """Equity and, on the same axis of time, how far it lies below its last peak.

    `market` is the curve of buying and holding instead, drawn thinly beside it.
    """
    moments = [began, *(moment for moment, _ in curve)]
    equity = np.array([float(initial_capital), *(float(value) for _, value in curve)])
    depth = (equity / np.maximum.accumulate(equity) - 1.0) * 100.0
    kept = np.union1d(outline(equity, CURVE_POINTS), outline(depth, CURVE_POINTS))
    times = wall_clock(moments)[kept]
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.7, 0.3], vertical_spacing=0.05,
        figure=blank(460, hovermode="x unified"),
    )  # fmt: skip
    if market:
        figure.add_scatter(
            x=wall_clock([began, *(moment for moment, _ in market)]),
            y=[float(initial_capital), *(float(value) for _, value in market)],
            name="buy and hold", mode="lines", line={"color": MARKET, "width": 1.2, "dash": "dot"},
            hovertemplate="₹%{y:,.2f}", row=1, col=1,
        )  # fmt: skip
    figure.add_scatter(
        x=times, y=equity[kept], name="equity", line={"color": LINE, "width": 1.8},
        mode="lines+markers" if len(kept) < 40 else "lines", marker={"size": 5},
        customdata=[rupees_text(value) for value in equity[kept]],
        hovertemplate="%{customdata}", row=1, col=1,
    )  # fmt: skip
    figure.add_scatter(
        x=times, y=depth[kept], name="drawdown", mode="lines", fill="tozeroy", fillcolor=LOSS_WASH,
        line={"color": LOSS, "width": 1.2}, hovertemplate="%{y:.2f} %", row=2, col=1,
    )  # fmt: skip
    styled(figure).update_xaxes(type="date", hoverformat="%d %b %Y %H:%M")
    figure.update_yaxes(title="equity, ₹", tickformat=",", row=1, col=1)
    figure.update_yaxes(title="below peak, %", ticksuffix=" ", rangemode="tozero", row=2, col=1)
    deepest = int(depth.argmin())
    said = (
        f"Equity goes from {rupees_text(initial_capital)} to {rupees_text(equity[-1])}; "
        f"lowest against its peak on {moment_text(moments[deepest])}: "
        f"{percent_text(depth[deepest])}."
    )
    note = ""
    if len(kept) < len(equity):
        note = (
            f"Drawn from {grouped(len(kept))} of {grouped(len(equity))} points; every peak and "
            "trough that a screen can show is kept."
        )
    return Chart("equity", figure.to_json(), said, note)


def pnl_chart(pnls: Sequence[Decimal]) -> Chart:
    """How many trades brought how much; no bin mixes gains with losses. Needs a trade."""
    values = [float(pnl) for pnl in pnls]
    edges = histogram_edges(values)
    counts, _ = np.histogram(values, edges)
    lefts, rights = edges[:-1], edges[1:]
    ranges = [
        f"{rupees_text(a, paise=False)} to {rupees_text(b, paise=False)}"
        for a, b in zip(lefts, rights, strict=True)
    ]
    figure = blank(300, bargap=0.06, showlegend=False)
    figure.add_bar(
        x=(lefts + rights) / 2, y=counts, width=(rights - lefts) * 0.94, customdata=ranges,
        marker={"color": [GAIN if left >= 0 else LOSS for left in lefts]},
        hovertemplate="%{y} trades of %{customdata}<extra></extra>",
    )  # fmt: skip
    styled(figure).update_xaxes(title="net P&L of a trade, ₹", tickformat=",")
    whole = {"dtick": 1} if counts.max() < 6 else {}
    figure.update_yaxes(title="trades", rangemode="tozero", **whole)
    figure.add_vline(x=0, line={"color": INK, "width": 1})
    most = int(counts.argmax())
    said = (
        f"{grouped(len(values))} trades from {rupees_text(min(values))} to "
        f"{rupees_text(max(values))}; most often {ranges[most]} ({counts[most]})."
    )
    return Chart("pnl", figure.to_json(), said)


def attribution_chart(attribution: Attribution) -> Chart:
    """What each voter's share of winning and of losing trades came to."""
    # plotly draws the first category at the bottom, and the best voter belongs on top.
    rows = [(name, tally) for name, tally in attribution.voters.items() if tally.trades][::-1]
    names = [escaped(name) for name, _ in rows]
    figure = blank(90 + 30 * len(rows), barmode="relative", bargap=0.35)
    for label, color, amounts in (
        ("losing trades", LOSS, [tally.lost for _, tally in rows]),
        ("winning trades", GAIN, [tally.won for _, tally in rows]),
    ):
        figure.add_bar(
            y=names, x=[float(amount) for amount in amounts], orientation="h", name=label,
            marker={"color": color}, customdata=[rupees_text(a, signed=True) for a in amounts],
            hovertemplate="%{y}: %{customdata} from " + label + "<extra></extra>",
        )  # fmt: skip
    figure.add_scatter(
        y=names, x=[float(tally.net) for _, tally in rows], mode="markers", name="net",
        marker={"symbol": "diamond", "size": 9, "color": INK},
        customdata=[rupees_text(tally.net, signed=True) for _, tally in rows],
        hovertemplate="%{y}: %{customdata} net<extra></extra>",
    )  # fmt: skip
    styled(figure).update_xaxes(title="share of net P&L, ₹", tickformat=",", showgrid=True)
    figure.update_yaxes(showgrid=False)
    figure.add_vline(x=0, line={"color": INK, "width": 1})
    said = "; ".join(f"{name} {rupees_text(tally.net, signed=True)}" for name, tally in rows[::-1])
    return Chart("attribution", figure.to_json(), f"Net share by voter: {said}.")


def escaped(text: str) -> str:
    """Text that plotly shows as it is: it would read a few HTML tags otherwise."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
