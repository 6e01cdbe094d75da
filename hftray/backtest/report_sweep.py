"""A sweep in a report: a heat map of two parameters, and the best sets.

Where more than two parameters were varied, a cell is the median of the sets that share its two
values: one lucky set does not make a cell look good, and a plateau shows as one.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hftray.backtest.report_charts import (
    LINE,
    Chart,
    blank,
    escaped,
    styled,
)
from hftray.backtest.report_numbers import DASH, grouped, ratio_text, words

MOST_STEPS = 24
"""Values that an axis of the heat map tells apart; more are put into ranges of equal width."""

BEST_SETS = 10


@dataclass(frozen=True, slots=True)
class SweepTable:
    """Sets of parameters, best first, each with the metric it reached.

    `tried` counts those without a defined metric too, which are not in `best_first`.
    """

    metric: str
    best_first: Sequence[tuple[Mapping[str, Any], float]]
    tried: int
    maximise: bool = True

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of what was varied, in the best set's order."""
        return tuple(self.best_first[0][0]) if self.best_first else ()


@dataclass(frozen=True, slots=True)
class SweepView:
    """What the page shows of a sweep."""

    says: str
    chart: Chart | None
    caption: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


def sweep_view(table: SweepTable) -> SweepView:
    """The sweep's picture and its best sets."""
    best = table.best_first
    undefined = table.tried - len(best)
    without = f"; {grouped(undefined)} of them have none" if undefined else ""
    says = (
        f"{grouped(table.tried)} sets of parameters, compared by {words(table.metric)}{without}. "
        "The best of many sets is partly luck: look for a plateau, and try it on days the sweep "
        "never saw."
    )
    rows = [
        (str(place), *(_value_text(chosen.get(name)) for name in table.parameters),
         ratio_text(value, places=3))
        for place, (chosen, value) in enumerate(best[:BEST_SETS], start=1)
    ]  # fmt: skip
    caption = f"The best {len(rows)} sets." if rows else "No set has a defined metric."
    columns = ("", *table.parameters, words(table.metric))
    return SweepView(says, _chart(table), caption, columns, rows)


def _chart(table: SweepTable) -> Chart | None:
    sizes = {
        name: len({chosen.get(name) for chosen, _ in table.best_first}) for name in table.parameters
    }
    widest = sorted((name for name in sizes if sizes[name] > 1), key=lambda name: -sizes[name])[:2]
    axes = [name for name in table.parameters if name in widest]
    if not axes:
        return None
    return _line(table, axes[0]) if len(axes) == 1 else _heat_map(table, axes[0], axes[1])


def _line(table: SweepTable, name: str) -> Chart:
    steps, places = _steps([chosen.get(name) for chosen, _ in table.best_first])
    cells = _cells(places, [0] * len(places), table)
    medians = [_median(cells.get((place, 0))) for place in range(len(steps))]
    figure = blank(340, showlegend=False)
    figure.add_scatter(
        x=steps, y=medians, mode="lines+markers", line={"color": LINE}, connectgaps=False,
        hovertemplate=escaped(name) + " %{x}: %{y:.3f}<extra></extra>",
    )  # fmt: skip
    styled(figure).update_xaxes(title=escaped(name), type="category")
    figure.update_yaxes(title=escaped(words(table.metric)))
    return Chart("sweep", figure.to_json(), f"{words(table.metric)} by {name}.")


def _heat_map(table: SweepTable, across: str, up: str) -> Chart:
    columns, column_of = _steps([chosen.get(across) for chosen, _ in table.best_first])
    lines, line_of = _steps([chosen.get(up) for chosen, _ in table.best_first])
    cells = _cells(column_of, line_of, table)
    grid = [[cells.get((x, y)) for x in range(len(columns))] for y in range(len(lines))]
    values = np.array([[_median(cell) for cell in row] for row in grid], dtype=float)
    figure = blank(max(340, 120 + 26 * len(lines)))
    metric = words(table.metric)
    figure.add_heatmap(
        x=columns, y=lines, z=[[None if np.isnan(v) else v for v in row] for row in values],
        colorscale="Cividis", reversescale=not table.maximise, xgap=1, ygap=1, hoverongaps=False,
        customdata=[[_cell_text(cell) for cell in row] for row in grid],
        texttemplate="%{z:.2f}" if values.size <= 200 else None,
        hovertemplate=(
            f"{escaped(across)} %{{x}}<br>{escaped(up)} %{{y}}<br>%{{customdata}}<extra></extra>"
        ),
        colorbar={"title": {"text": escaped(metric)}, "thickness": 12, "outlinewidth": 0},
    )  # fmt: skip
    styled(figure).update_xaxes(title=escaped(across), type="category")
    figure.update_yaxes(title=escaped(up), type="category")
    chosen, value = table.best_first[0]
    says = (
        f"Heat map of {metric} over {across} and {up}. Best set: {ratio_text(value)} at "
        f"{across} {_value_text(chosen.get(across))}, {up} {_value_text(chosen.get(up))}."
    )
    others = [name for name in table.parameters if name not in (across, up)]
    note = f"A cell is the median over {', '.join(others)}." if others else ""
    return Chart("sweep", figure.to_json(), says, note)


Cells = dict[tuple[int, int], list[float]]


def _cells(columns: Sequence[int], lines: Sequence[int], table: SweepTable) -> Cells:
    cells: Cells = {}
    for x, y, (_, value) in zip(columns, lines, table.best_first, strict=True):
        cells.setdefault((x, y), []).append(value)
    return cells


def _steps(values: Sequence[Any]) -> tuple[list[str], list[int]]:
    """The labels of an axis in their order, and the place of each value on it."""
    distinct = list(dict.fromkeys(values))
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in distinct)
    if not numeric or len(distinct) <= MOST_STEPS:
        ordered = sorted(distinct) if numeric else sorted(distinct, key=str)
        place_of = {value: place for place, value in enumerate(ordered)}
        return [escaped(_value_text(value)) for value in ordered], [
            place_of[value] for value in values
        ]
    edges = np.linspace(min(distinct), max(distinct), MOST_STEPS // 2 + 1)
    places = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    pairs = zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    return [f"{low:.4g}{DASH}{high:.4g}" for low, high in pairs], places.tolist()


def _median(cell: list[float] | None) -> float | None:
    return statistics.median(cell) if cell else None


def _cell_text(cell: list[float] | None) -> str:
    if not cell:
        return ""
    if len(cell) == 1:
        return ratio_text(cell[0], places=3)
    low, high = ratio_text(min(cell), places=3), ratio_text(max(cell), places=3)
    return f"median {ratio_text(_median(cell), places=3)} of {len(cell)} sets, {low} to {high}"


def _value_text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
