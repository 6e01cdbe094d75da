"""Logs: one JSON object a line, and never a secret in it."""

import json
import logging
import traceback
from datetime import date
from decimal import Decimal

import pytest
from pydantic import SecretStr

from hftray import observe

SECRET = "hunter2"


@pytest.fixture
def lines(caplog):
    """What the loggers wrote, as text lines."""
    caplog.set_level(logging.INFO, logger="hftray")
    logging.getLogger("hftray").propagate = True
    yield lambda: [record.getMessage() for record in caplog.records]
    logging.getLogger("hftray").propagate = not logging.getLogger("hftray").handlers


def test_a_line_is_one_json_object_with_the_facts(lines):
    observe.logger("risk").warning("order refused", symbol="TCS", price=Decimal("1.05"), n=3)
    (line,) = lines()
    record = json.loads(line)
    assert "\n" not in line
    assert record.pop("time").endswith("+00:00")
    assert record == {
        "level": "warning", "component": "risk", "event": "order refused",
        "symbol": "TCS", "price": "1.05", "n": 3,
    }  # fmt: skip


def test_levels(lines):
    log = observe.logger("engine")
    for write in (log.info, log.warning, log.error):
        write("x")
    assert [json.loads(line)["level"] for line in lines()] == ["info", "warning", "error"]
    logging.getLogger("hftray").setLevel("ERROR")
    log.warning("not written")
    assert len(lines()) == 3


def test_line_breaks_and_odd_values_stay_one_parsable_line(lines):
    observe.logger("x").error("two\nlines", why=ValueError("a\nb"), day=date(2026, 6, 1), of={1})
    (line,) = lines()
    assert "\n" not in line
    assert json.loads(line)["day"] == "2026-06-01"


@pytest.mark.parametrize(
    "key",
    ["token", "api_token", "password", "db_password", "secret", "GROWW_API_SECRET", "api_key",
     "apikey", "Authorization", "secret_key"],
)  # fmt: skip
def test_a_fact_named_like_a_secret_is_masked(lines, key):
    observe.logger("x").info("up", **{key: SECRET}, **{"nested": {key: SECRET, "port": 1}})
    observe.logger("x").info("up", rows=[{key: SECRET}])
    assert SECRET not in "".join(lines())
    assert json.loads(lines()[0])["nested"]["port"] == 1


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://anita:{SECRET}@db:5432/hftray",
        f"postgresql+asyncpg://anita:{SECRET}@localhost/hftray?ssl=true",
        f"redis://:{SECRET}@cache:6379/0",
        f"postgresql://anita:p@{SECRET}@db/hftray",
        f"postgresql://db/hftray?user=anita&password={SECRET}",
        f"could not reach postgresql://anita:{SECRET}@db/hftray: refused; see a@b.c",
    ],
)
@pytest.mark.parametrize("wrap", [str, ValueError, lambda url: [url], lambda url: {"of": (url,)}])
def test_a_password_in_a_url_is_masked_wherever_it_stands(lines, url, wrap):
    observe.logger("x").warning("ledger away", reason=wrap(url))
    observe.logger("x").warning(f"cannot reach {url}")
    assert SECRET not in "".join(lines())
    assert all(json.loads(line) for line in lines())


@pytest.mark.parametrize(
    "text",
    [
        f"headers {{'Authorization': 'Bearer {SECRET}', 'Accept': '*'}}",
        f"Authorization: Bearer {SECRET}",
        f"NewUser(id='asha', groww_api_secret='{SECRET}')",
        f'body {{"groww_api_key": "{SECRET}", "id": "asha"}}',
        f"set HFTRAY_API_TOKEN={SECRET}",
        f"secret=b'{SECRET}'",
        f"password = {SECRET}, user = anita",
    ],
)
def test_a_secret_in_the_text_of_an_exception_is_masked(lines, text):
    try:
        raise ConnectionError(text)
    except ConnectionError as error:
        trace = "".join(traceback.format_exception(error))
        observe.logger("x").error(f"failed: {error}", why=error, trace=trace, args=error.args)
    assert SECRET not in lines()[0].replace("SECRET", "")
    assert "Traceback" in lines()[0]


def test_what_is_no_secret_stays_readable():
    for text in ("the token: none was given", "storage.secret_key (from x): unknown key"):
        assert observe.mask(text) == text
    for text in ("http://localhost:5000/docs", "see https://nse.example/a:b", "a@b.c", "10:30"):
        assert observe.mask(text) == text
    assert observe.mask("postgresql://u:p@db:5432/x") == "postgresql://u:***@db:5432/x"


def test_a_secret_value_object_is_masked_by_itself(lines):
    observe.logger("x").info("up", url=SecretStr(f"postgresql://a:{SECRET}@db/x"))
    assert SECRET not in lines()[0]


def test_configuring_twice_writes_every_line_once(capsys):
    root = logging.getLogger("hftray")
    before, propagate = list(root.handlers), root.propagate
    root.handlers.clear()
    try:
        observe.configure()
        observe.configure()
        observe.logger("x").info("once")
        assert capsys.readouterr().err.count('"once"') == 1
    finally:
        root.handlers[:], root.propagate = before, propagate
