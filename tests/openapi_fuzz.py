"""Schemathesis over the API: every phase and every check, and a seed that repeats the run.

The phases: the documents' own examples, boundary values (also methods and fields that do not
exist), generated requests (valid ones and broken ones), and chains of calls in which one uses
what another returned.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from fastapi import FastAPI
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.schemas import BaseSchema

# Refused with 422 although the schema allows them, because JSON Schema cannot say it: which
# parameters a strategy takes depends on its kind, and they have an order among themselves (fast
# before slow); a backtest may not end before it starts.
RULES_BETWEEN_FIELDS = (
    ("POST", "/api/strategies"),
    ("PATCH", "/api/strategies/{strategy_id}"),
    ("POST", "/api/backtest"),
)
ACCEPTED = ["2xx", "401", "403", "404", "409", "422"]


@dataclass(slots=True)
class Report:
    """What was asked, an operation, and what was found."""

    requests: Counter[str] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def configuration(*, examples: int, seed: int, token: str | None) -> SchemathesisConfig:
    """All checks on; `examples` is how many requests an operation gets in the generated phase."""
    headers = {"Host": "localhost"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    tolerant = {"positive_data_acceptance": {"expected-statuses": ACCEPTED}}
    return SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "cache": {"enabled": False},
            "headers": headers,
            "continue-on-failure": True,
            "generation": {"max-examples": examples, "database": "none"},
            "operations": [
                {"include-method": method, "include-path": path, "checks": tolerant}
                for method, path in RULES_BETWEEN_FIELDS
            ],
        }
    )


def of_app(app: FastAPI, config: SchemathesisConfig) -> BaseSchema:
    """The operations of an application in this process."""
    return schemathesis.openapi.from_asgi("/openapi.json", app, config=config)


def of_url(url: str, config: SchemathesisConfig) -> BaseSchema:
    """The operations of a running system."""
    return schemathesis.openapi.from_url(f"{url}/openapi.json", config=config)


def fuzz(schema: BaseSchema) -> Report:
    """Run all phases; every failed check and every fault of the run itself is a failure."""
    report = Report()
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            _count(event, report)
        elif isinstance(event, events.NonFatalError):
            report.failures.append(f"{event.label}: {event.value}")
        elif isinstance(event, events.FatalError):
            report.failures.append(repr(event.exception))
    return report


def _count(event: events.ScenarioFinished, report: Report) -> None:
    for number, node in event.recorder.cases.items():
        report.requests[node.value.operation.label] += 1
        found = event.recorder.find_response(case_id=number)
        if found is not None:
            report.answers[found.status_code] += 1
    for checks in event.recorder.checks.values():
        report.failures += [_told(event, check) for check in checks if check.failure_info]


def _told(event: events.ScenarioFinished, check: Any) -> str:
    failure = check.failure_info
    where = f"{event.label} ({event.phase.value}): {check.name}"
    return f"{where}\n{failure.failure}\n{failure.code_sample}"
