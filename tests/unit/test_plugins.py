"""Strategies from files and entry points, and the contract they are held to."""

import json
import re
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from api_world import api_world
from signal_world import draw
from typer.testing import CliRunner

from hftray.commands import check
from hftray.core.candles import Candles
from hftray.core.errors import ConfigError
from hftray.layers import load
from hftray.strategies import plugins
from hftray.strategies.ensemble import Ensemble
from hftray.strategies.plugins import BadPlugin, StrategyFile, kinds_of, load_plugins, read_plugins
from hftray.strategies.registry import check_parameters, forget, known_kinds, make_voters, register
from hftray.strategies.rsi import RsiParameters
from hftray.testing import strategy_contract as contract_module
from hftray.testing.strategy_contract import PROMISES, broken, strategy_contract

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")
EXAMPLE = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.M | re.S)[0]

HEAD = """
import numpy as np
from hftray.strategies.comparison import above
from hftray.strategies.registry import register
from hftray.strategies.strategy import CLOSE, Input, Parameters, Strategy
"""


def walk(count: int = 1500) -> Candles:
    """A price that wanders in ticks of five paise, 75 candles a day."""
    steps = np.random.default_rng(7).integers(-12, 13, count)
    closes = 500 + np.cumsum(steps) * 0.05
    days = 738_000 + np.arange(count) // 75
    return draw(closes.tolist(), volumes=1_000.0, days=days.tolist(), reach=0.2)


CANDLES = walk()


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test loads is unknown to the next."""
    before = set(known_kinds())
    monkeypatch.setattr(plugins, "_FILES", {})
    monkeypatch.setattr(plugins, "_POINTS", set())
    yield
    forget(set(known_kinds()) - before)


@pytest.fixture
def example(tmp_path: Path) -> Path:
    path = tmp_path / "donchian.py"
    path.write_text(EXAMPLE, encoding="utf-8")
    return path


def write(directory: Path, text: str) -> Path:
    path = directory / "mine.py"
    path.write_text(text, encoding="utf-8")
    return path


# The page


def test_the_pages_example_is_loaded_and_keeps_every_promise(example: Path) -> None:
    assert load_plugins([example]) == ("donchian",)
    verdicts = strategy_contract("donchian", CANDLES)
    assert broken(verdicts) == []
    assert [verdict.promise for verdict in verdicts] == list(PROMISES)


def test_the_example_votes_where_the_page_says(example: Path) -> None:
    load_plugins([example])
    (voter,) = make_voters("donchian", {"period": 3})
    votes = voter.vote_history(draw([10, 11, 10, 11, 12, 13, 12, 11, 9, 8])).tolist()
    # 12 leaves 10 to 11 upwards, 11 leaves 12 to 13 downwards, and both only once.
    assert votes == [0, 0, 0, 0, 1, 0, 0, -1, 0, 0]


async def test_a_row_of_the_kind_is_taken_by_the_api_and_votes_in_the_ensemble(
    example: Path,
) -> None:
    load_plugins([example])
    async with api_world() as world:
        body = {"name": "Breakout", "kind": "donchian", "parameters": {"period": 20}}
        made = await world.client.post("/api/strategies", json=body)
        assert made.status_code == 201, made.text
        assert made.json()["parameters"] == {"period": 20, "weight": 0.9}
        refused = await world.client.post(
            "/api/strategies", json=body | {"name": "x", "parameters": {"period": 1000}}
        )
        assert refused.json()["errors"][0]["field"] == "parameters.period"
        schema = (await world.client.get("/openapi.json")).json()["components"]["schemas"]
        assert "donchian" in schema["StrategyCreate"]["properties"]["kind"]["enum"]
    _, votes = Ensemble([made.json()]).vote_history(CANDLES)
    assert set(votes["donchian"].tolist()) == {-1, 0, 1}


# Loading


def test_loading_twice_is_once_and_an_edited_file_is_refused(example: Path) -> None:
    assert load_plugins([example, example]) == ("donchian",)
    assert load_plugins([example]) == ()
    assert kinds_of(StrategyFile.read(example)) == ("donchian",)
    example.write_text(EXAMPLE + "\n", encoding="utf-8")
    with pytest.raises(BadPlugin, match=r"donchian\.py: changed since it was loaded"):
        load_plugins([example])


GOOD = f"""{HEAD}
@register("mine", Parameters)
class Mine(Strategy[Parameters]):
    def needs(self):
        return (CLOSE,)
    def rule(self, columns):
        ((before, now),) = columns
        return above(now, before), above(before, now)
"""

FAULTY = [
    ("def broken(:\n    pass\n", "line 1: invalid syntax"),
    (f"{GOOD}\nvalue = 1 / 0\n", "line 15: ZeroDivisionError: division by zero"),
    ("import nothing_of_the_kind\n", "line 1: ModuleNotFoundError: No module named"),
    (GOOD.replace("mine", "rsi"), "line 7: ValueError: strategy kind 'rsi' is registered twice"),
    (GOOD.replace('"mine"', '"my:kind"'), "line 7: ValueError: strategy kind 'my:kind' must match"),
    (HEAD, "registers no strategy; put @register above its class"),
    (f"{HEAD}\nnp.zeros(-1)\n", "ValueError: negative dimensions"),
]


@pytest.mark.parametrize(("text", "said"), FAULTY)
def test_a_broken_file_is_named_with_its_line_and_leaves_nothing_behind(
    tmp_path: Path, text: str, said: str
) -> None:
    before, modules = known_kinds(), set(sys.modules)
    with pytest.raises(ConfigError) as caught:
        load_plugins([write(tmp_path, text)])
    assert str(tmp_path / "mine.py") in str(caught.value)
    assert said in str(caught.value)
    assert known_kinds() == before
    assert not {name for name in set(sys.modules) - modules if name.startswith("hftray_strategy")}
    assert load_plugins([write(tmp_path, GOOD)]) == ("mine",)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadPlugin, match=r"gone\.py: cannot be read \(No such file"):
        load_plugins([tmp_path / "gone.py"])
    (tmp_path / "mine.py").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadPlugin, match=r"mine\.py: not UTF-8"):
        read_plugins([tmp_path / "mine.py"])


def test_entry_points_are_loaded_once_and_named_when_they_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine_b5.py").write_text(GOOD.replace('"mine"', '"packed"'), encoding="utf-8")
    points = [EntryPoint("packed", "mine_b5", plugins.GROUP)]
    monkeypatch.setattr(plugins, "_installed", lambda: points)
    assert load_plugins() == ("packed",)
    assert load_plugins() == ()
    points.append(EntryPoint("lost", "no_such_module_b5", plugins.GROUP))
    with pytest.raises(BadPlugin, match=r"entry point lost = no_such_module_b5 of unknown package"):
        load_plugins()


def test_the_setting_takes_a_list_of_files(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("strategies: {files: [~/a.py, b.py]}\n", encoding="utf-8")
    files = load(config=own, environment={}).settings.strategies.files
    assert files == (Path.home() / "a.py", Path.cwd() / "b.py")
    named = load(environment={"HFTRAY_STRATEGIES__FILES": "/x/a.py,/x/b.py"}).settings
    assert named.strategies.files == (Path("/x/a.py"), Path("/x/b.py"))
    assert load(environment={}).settings.strategies.files == ()


# The contract


@pytest.mark.parametrize("kind", known_kinds())
def test_hftrays_own_strategies_keep_the_contract(kind: str) -> None:
    assert broken(strategy_contract(kind, CANDLES)) == []


def variant(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


BREAKERS = [
    (
        "bounded parameters with a JSON schema",
        "parameter size has no lower and upper bound",
        variant("@register(", "class P(Parameters):\n    size: int = 5\n\n@register(").replace(
            ", Parameters)", ", P)"
        ),
    ),
    (
        "votes are -1, 0 or 1",
        r"votes \[-2, 2\]",
        f"{GOOD}\n    def votes_over(self, columns):\n"
        "        return super().votes_over(columns) * np.int8(2)\n",
    ),
    (
        "no vote on what is not a number",
        "votes on inputs that are NaN",
        variant("return above(now, before), above(before, now)", "return now == now, now != now"),
    ),
    (
        "bears odd markets",
        "raises ValueError",
        variant("return (CLOSE,)", "return (Input(lambda c: c.close - c.close[:50].max()),)"),
    ),
    (
        "no look ahead; live as over a history",
        "when the history ends",
        variant(
            "return (CLOSE,)",
            "return (Input(lambda c: np.convolve(c.close, np.ones(5) / 5, 'same')"
            " if len(c) > 4 else c.close),)",
        ),
    ),
    (
        "no look ahead; live as over a history",
        "read-only",
        variant("return (CLOSE,)", "return (Input(lambda c: np.add(c.close, 1, out=c.close)),)"),
    ),
    (
        "votes the same in an ensemble",
        "votes otherwise in an ensemble",
        f"{GOOD}\n    def vote_history(self, candles):\n"
        "        return -super().vote_history(candles)\n"
        "    def vote(self, candles):\n        return -super().vote(candles)\n",
    ),
    (
        "deterministic",
        "votes otherwise when asked again",
        f"{GOOD}\n    asked = 0\n    def vote_history(self, candles):\n        Mine.asked += 1\n"
        "        votes = super().vote_history(candles)\n"
        "        return votes if Mine.asked % 2 else -votes\n",
    ),
    (
        "pickles",
        "raises",
        f"{GOOD}\n    def __init__(self, parameters, variant=''):\n"
        "        super().__init__(parameters, variant)\n        self.extra = lambda: 1\n",
    ),
    (
        "warms up within the buffer",
        "depend on where the history begins",
        variant("return (CLOSE,)", "return (Input(lambda c: np.cumsum(c.close - c.close[:1])),)"),
    ),
    (
        "fast",
        "takes",
        variant("return (CLOSE,)", "return (Input(lambda c: c.close, newest=slow),)").replace(
            "@register(",
            "def slow(c):\n    sum(range(30_000))\n    return c.close\n\n@register(",
        ),
    ),
]


@pytest.mark.parametrize(("promise", "said", "text"), BREAKERS, ids=[b[0] for b in BREAKERS])
def test_a_strategy_that_breaks_a_promise_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, promise: str, said: str, text: str
) -> None:
    monkeypatch.setattr(contract_module, "SLOWEST", 1e-4)  # so that the slow one need not be slow
    load_plugins([write(tmp_path, text)])
    verdicts = {v.promise: v for v in strategy_contract("mine", CANDLES)}
    assert not verdicts[promise].kept, verdicts
    assert re.search(said, verdicts[promise].seen), verdicts[promise]


def test_the_original_that_they_were_made_of_keeps_all(tmp_path: Path) -> None:
    load_plugins([write(tmp_path, GOOD)])
    assert broken(strategy_contract("mine", CANDLES)) == []


def test_a_kind_is_registered_once_in_code_too() -> None:
    with pytest.raises(ValueError, match="registered twice"):
        register("rsi", RsiParameters)(type("Other", (), {}))
    assert check_parameters("rsi", {}) == RsiParameters()


# The command


def run(*arguments: str, **options: Any) -> Any:
    return CliRunner().invoke(check.commands, list(arguments), env={"COLUMNS": "200"} | options)


def test_check_strategy_tells_every_promise_and_fails_with_1(tmp_path: Path, example: Path) -> None:
    done = run("strategy", str(example))
    assert done.exit_code == 0, done.output
    assert "donchian" in done.stdout
    assert all(promise in done.stdout for promise in PROMISES)
    cheat = next(text for name, _, text in BREAKERS if name.startswith("no look"))
    failed = run("strategy", str(write(tmp_path, cheat)), "--json")
    assert failed.exit_code == 1
    verdicts = json.loads(failed.stdout)["mine"]
    assert next(v["promise"] for v in verdicts if not v["kept"]).startswith("no look ahead")


def test_check_names_the_line_of_a_broken_file(tmp_path: Path) -> None:
    done = run("strategy", str(write(tmp_path, "x = 1\ny = x.z\n")))
    assert done.exit_code == 1
    assert f"{tmp_path}/mine.py, line 2: AttributeError" in done.stdout
