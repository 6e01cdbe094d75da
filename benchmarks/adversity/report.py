"""What a chaos run came to: figures, the table, the verdict."""

import json
import statistics
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from adversity.facts import Violation
from adversity.fault import Fault

FOUR = ("lost", "doubled", "orphan", "breach")
DEFINITION = (
    "Trading again: from the fault to the end of the first scan that began after it in which the "
    "struck part worked again."
)


@dataclass(slots=True)
class Outcome:
    """Everything measured."""

    seed: int
    schedule: str
    seconds: float
    symbols: int
    kinds: tuple[str, ...]
    orders: int = 0
    fills: int = 0
    days: int = 0
    audits: int = 0
    scans: int = 0
    resumed_by_hand: int = 0
    never_healed: str = ""
    limits: dict[str, Any] = field(default_factory=dict)
    """The exchange's count of calls: by category its windows and how many calls it refused."""
    faults: list[Fault] = field(default_factory=list)
    violations: dict[tuple[str, str, str], Violation] = field(default_factory=dict)

    def add(self, found: list[Violation]) -> None:
        """Violations, each counted once."""
        for violation in found:
            self.violations.setdefault(
                (violation.kind, violation.rule, violation.subject), violation
            )

    @property
    def injected(self) -> list[Fault]:
        """Faults that really happened."""
        return [f for f in self.faults if f.began is not None and not f.skipped]

    def count(self, kind: str) -> int:
        """Violations of one of the four kinds."""
        return sum(violation.kind == kind for violation in self.violations.values())

    def recovery(self, kind: str | None = None) -> list[float]:
        """Seconds from fault to trading again."""
        return [
            f.recovered - f.began
            for f in self.injected
            if f.recovered is not None
            and f.began is not None
            and (kind is None or f.planned.kind == kind)
        ]

    def shortfalls(self, *, faults: int, orders: int, every_kind: bool) -> list[str]:
        """Why this run is no proof or no success; empty when all is well."""
        reasons = [f"{self.count(kind)} {kind}" for kind in FOUR if self.count(kind)]
        if self.never_healed:
            reasons.append(f"never healed: {self.never_healed}")
        reasons += [
            f"{name}: {counted['refused']} calls refused for a limit"
            for name, counted in self.limits.items()
            if counted["refused"]
        ]
        if len(self.injected) < faults:
            reasons.append(f"{len(self.injected)} faults of at least {faults}")
        if self.orders < orders:
            reasons.append(f"{self.orders} orders of at least {orders}")
        missing = sorted(set(self.kinds) - {fault.planned.kind for fault in self.injected})
        if every_kind and missing:
            reasons.append(f"never happened: {', '.join(missing)}")
        return reasons

    def show(self, console: Console) -> None:
        """The figures for people."""
        console.print(self._by_kind())
        table = Table(title=f"Chaos: seed {self.seed}, schedule {self.schedule}", show_header=False)
        rows: list[tuple[str, Any]] = [
            ("faults", len(self.injected)),
            ("skipped", sum(bool(f.skipped) for f in self.faults)),
            ("simulated days", self.days),
            ("audits", self.audits),
            ("scans", self.scans),
            ("orders", self.orders),
            ("fills", self.fills),
            *((kind, self.count(kind)) for kind in FOUR),
            ("trading again, median / max", _span(self.recovery())),
            ("not trading again", sum(f.recovered is None for f in self.injected)),
            ("resumed by hand", self.resumed_by_hand),
            *self._limit_rows(),
        ]
        for name, value in rows:
            table.add_row(name, str(value))
        console.print(table)
        console.print(DEFINITION)
        for violation in self.violations.values():
            console.print(
                f"{violation.kind.upper()} {violation.rule}: {violation.subject}\n"
                f"    {violation.text}",
                markup=False,
            )

    def _limit_rows(self) -> list[tuple[str, str]]:
        """The highest count of every sliding window that counted anything."""
        return [
            (f"most {name} calls in {window['seconds']:.0f} s", f"{window['highest']} of {limit}")
            for name, counted in self.limits.items()
            for window in counted["windows"]
            if window["highest"] and (limit := window["limit"])
        ] + [
            ("calls refused for a limit", str(sum(own["refused"] for own in self.limits.values())))
            for _ in ([1] if self.limits else [])
        ]

    def _by_kind(self) -> Table:
        table = Table(title="Faults injected by kind")
        for name in ("kind", "injected", "skipped", "trading again, median / max"):
            table.add_column(name, justify="left" if name == "kind" else "right")
        happened = Counter(fault.planned.kind for fault in self.injected)
        skipped = Counter(f.planned.kind for f in self.faults if f.skipped)
        for kind in self.kinds:
            span = _span(self.recovery(kind))
            table.add_row(kind, str(happened[kind]), str(skipped[kind] or ""), span)
        return table

    def write(self, path: Path, shortfalls: list[str]) -> None:
        """The figures for programs."""
        body = {
            name: getattr(self, name)
            for name in (
                "seed", "schedule", "seconds", "symbols", "orders", "fills", "days", "audits",
                "scans", "resumed_by_hand", "never_healed", "limits",
            )
        }  # fmt: skip
        body |= {kind: self.count(kind) for kind in FOUR}
        body["recovery_seconds"] = {"all": self.recovery()} | {
            k: self.recovery(k) for k in self.kinds
        }
        body["violations"] = [asdict(violation) for violation in self.violations.values()]
        body["faults"] = [asdict(fault) for fault in self.faults]
        body["shortfalls"] = shortfalls
        path.write_text(json.dumps(body, indent=1, default=str))


def _span(seconds: list[float]) -> str:
    if not seconds:
        return "-"
    return f"{statistics.median(seconds):.2f} / {max(seconds):.2f} s"
