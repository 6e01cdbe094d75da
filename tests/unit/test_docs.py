"""What the documentation promises, held against the code."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_world import FakeDesk
from typer.main import get_group

from hftray.api.app import create_app
from hftray.api.dependencies import ApiSettings, Services
from hftray.cli import app as command_line
from hftray.layers import ENVIRONMENT, load
from hftray.strategies.defaults import default_strategies
from hftray.strategies.ensemble import voters_of
from hftray.testing.memory_catalog import MemoryCatalog
from hftray.testing.memory_ledger import MemoryLedger

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
SETTINGS_FILE = (ROOT / "config" / "hftray.yaml").read_text(encoding="utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])

FIRST_SCREEN = 30  # lines
UNDOCUMENTED_BY_OPENAPI = {("GET", "/docs")}  # the documentation does not list itself


def options() -> dict[str, set[str]]:
    """The long options of every subcommand of hftray."""
    found: dict[str, set[str]] = {}
    for name, command in get_group(command_line).commands.items():
        below = getattr(command, "commands", {}).values()
        parameters = [p for one in (command, *below) for p in one.params]
        found[name] = {text for p in parameters for text in p.opts if text.startswith("--")}
    return found


def table_rows(text: str) -> Iterator[list[str]]:
    """The cells of every table row; an escaped bar is none."""
    for line in text.splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def code(page: Path) -> Iterator[str]:
    """The lines of a page's code blocks, and its code spans."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```\w*\n(.*?)^```", text, flags=re.M | re.S):
        yield from block.splitlines()
    yield from re.findall(r"`([^`\n]+)`", prose(page))


def anchors(page: Path) -> set[str]:
    """The link targets that a page's headings make."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.M)
    plain = (re.sub(r"[^\w\- ]", "", heading).lower() for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def test_the_two_commands_stand_on_the_first_screen() -> None:
    lines = README.splitlines()[:FIRST_SCREEN]
    assert "pip install . && hftray up" in lines
    assert "pip install '.[test]' && pytest" in lines
    assert any("docs/images/architecture.svg" in line for line in lines)


def test_the_endpoint_table_is_the_api() -> None:
    services = Services(MemoryCatalog(MemoryLedger()), FakeDesk(), ApiSettings(version="0"))
    served = {
        (method.upper(), path)
        for path, operations in create_app(services).openapi()["paths"].items()
        for method in operations
    }
    methods = {"GET", "POST", "PATCH", "PUT", "DELETE"}
    listed = [(row[0], row[1].strip("`")) for row in table_rows(README) if row[0] in methods]
    assert len(listed) == len(set(listed))
    assert set(listed) == served | UNDOCUMENTED_BY_OPENAPI


def test_the_strategies_table_is_the_seeded_ensemble() -> None:
    seeded = {voter.name: voter.weight for voter in voters_of(default_strategies())}
    rows = [row for row in table_rows(README) if row[0].strip("`") in seeded]
    assert {row[0].strip("`"): float(row[1]) for row in rows} == seeded
    assert len(rows) == len(seeded)


def test_every_key_of_the_configuration_has_a_comment() -> None:
    known = load(environment={}).settings.model_dump()
    sections = {name for name, value in known.items() if isinstance(value, dict)}
    bare = [line for line in SETTINGS_FILE.splitlines() if ":" in line and "#" not in line]
    assert {line.strip().rstrip(":") for line in bare} <= sections


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_every_environment_variable_is_documented(name: str) -> None:
    row = next((r for r in table_rows(CONFIGURATION) if r[0] == f"`{name}`"), None)
    assert row is not None
    assert row[1] == f"`{ENVIRONMENT[name]}`"
    assert row[2]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_docs_exist(page: Path) -> None:
    known = options()
    for line in code(page):
        for name, rest in re.findall(r"(?:^|&& |=\S+ )hftray ([a-z][a-z-]*)(.*)", line):
            assert name in known
            assert set(re.findall(r"--[a-z-]+", rest)) <= known[name]


def test_every_flag_of_up_is_listed_and_no_other() -> None:
    listed = {
        flag
        for row in table_rows(README)
        if row[0].startswith("`--")
        for flag in re.findall(r"--[a-z-]+", row[0])
    }
    assert listed - {"--mode"} == options()["up"] - {"--mode"}
    assert "| `--mode` |" in README
