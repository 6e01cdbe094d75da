"""Settings: layers and origins, and what a wrong value is told: key, origin, what is allowed."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from hftray.core.errors import ConfigError
from hftray.core.rules import TradingRules
from hftray.layers import default_file, load, read_yaml
from hftray.settings import Settings

TEN = (
    "RELIANCE", "TCS", "HDFCBANK", "INFY", "ICICIBANK",
    "HINDUNILVR", "SBIN", "BHARTIARTL", "KOTAKBANK", "ITC",
)  # fmt: skip


def loaded(environment=None, **layers):
    return load(environment=environment or {}, **layers)


def told(environment=None, **layers):
    """The message of the refusal."""
    with pytest.raises(ConfigError) as caught:
        loaded(environment, **layers)
    return str(caught.value)


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return path

    return write


# Defaults


def test_the_defaults_are_the_specifications_numbers():
    settings = loaded().settings
    assert settings.symbols == TEN
    assert settings.initial_capital == Decimal(100_000)
    assert settings.server.port == 5000
    assert settings.engine.scan_interval == 5
    assert settings.engine.closed_interval == 60
    assert settings.engine.signal_log == 500
    assert (settings.risk.risk_per_trade_percent, settings.risk.max_daily_loss_percent) == (2, 5)
    assert settings.risk.max_trades_per_symbol_day == 50
    exits = settings.exits
    assert (exits.stop_loss_percent, exits.take_profit_percent) == (1.5, 3.0)
    assert (exits.stop_loss_atr, exits.take_profit_atr, exits.trailing_stop_percent) == (2, 4, 1)
    assert settings.signals.threshold == 0.3


def test_the_file_and_the_code_have_the_same_rules():
    """A test or script that builds `TradingRules()` trades by the shipped configuration."""
    assert loaded().settings.trading_rules() == TradingRules()


def test_every_default_names_the_file_as_its_origin():
    assert set(loaded().origins.values()) == {"config/hftray.yaml"}


def test_every_field_of_the_settings_has_its_line_in_the_file():
    """Secrets apart, which never belong in a file."""
    origins = set(loaded().origins)
    secret = {"server.api_token", "storage.secret_key", "groww"}
    for name, field in Settings.model_fields.items():
        section = getattr(field.annotation, "model_fields", None)
        for key in [f"{name}.{leaf}" for leaf in section] if section else [name]:
            known = key in origins or secret & {key, name}
            assert known, f"{key} is missing in config/hftray.yaml"


# Layers


def test_later_layers_win_and_are_remembered(file):
    mine = file("risk: {leverage: 2, max_trades_per_day: 9}\nserver: {port: 7000}\n")
    environment = {"HFTRAY_RISK__LEVERAGE": "3", "PORT": "8000"}
    both = loaded(environment, config=mine, flags={"server.port": 9000, "mode": None})
    settings, origins = both.settings, both.origins
    assert (settings.risk.leverage, settings.risk.max_trades_per_day) == (3, 9)
    assert settings.server.port == 9000
    assert origins["risk.leverage"] == "environment HFTRAY_RISK__LEVERAGE"
    assert origins["risk.max_trades_per_day"] == str(mine)
    assert origins["server.port"] == "command line"
    assert origins["mode"] == "config/hftray.yaml"


def test_a_file_changes_only_the_keys_it_names(file):
    before, after = loaded().settings, loaded(config=file("exits: {stop_loss_atr: 3}")).settings
    assert after.exits.stop_loss_atr == 3
    assert after.model_copy(update={"exits": before.exits}) == before


@pytest.mark.parametrize("text", ["", "# nothing\n", "risk: {}\n", "risk:\n"])
def test_an_empty_file_or_section_changes_nothing(file, text):
    assert loaded(config=file(text)).settings == loaded().settings


@pytest.mark.parametrize(
    ("name", "value", "key", "expected"),
    [
        ("DATABASE_URL", "postgresql://u:p@h/d", "storage.database_url", None),
        ("PORT", "5001", "server.port", 5001),
        ("INITIAL_CAPITAL", "250000.50", "initial_capital", Decimal("250000.50")),
        ("GROWW_API_KEY", "k", "groww.api_key", None),
        ("GROWW_API_SECRET", "s", "groww.api_secret", None),
        ("HFTRAY_API_TOKEN", "t", "server.api_token", None),
        ("HFTRAY_DATA_DIR", "/somewhere", "storage.data_dir", Path("/somewhere")),
        ("HFTRAY_SECRET_KEY", "x", "storage.secret_key", None),
        ("HFTRAY_MODE", "replay", "mode", "replay"),
        ("HFTRAY_SIMULATION__START_DAY", "2026-11-23", "simulation.start_day", date(2026, 11, 23)),
        ("HFTRAY_REPLAY__STRICT", "true", "replay.strict", True),
        ("HFTRAY_SYMBOLS", "tcs, infy", "symbols", ("TCS", "INFY")),
    ],
)
def test_environment_variables(name, value, key, expected):
    both = loaded({name: value})
    found = both.settings
    for part in key.split("."):
        found = getattr(found, part)
    assert (found.get_secret_value() if expected is None else found) == (expected or value)
    assert both.origins[key] == f"environment {name}"


def test_variables_of_others_and_empty_ones_are_passed_over():
    environment = {"PATH": "/bin", "PORT": "", "DATABASE_URL": "", "GROWW_API_KEY": ""}
    assert loaded(environment) == loaded()


def test_an_empty_variable_unsets_what_may_be_unset(file):
    mine = file("replay: {from_day: 2026-01-05}")
    settings = loaded({"HFTRAY_REPLAY__FROM_DAY": ""}, config=mine).settings
    assert settings.replay.from_day is None


def test_symbols_are_upper_case_and_a_data_dir_is_absolute(monkeypatch):
    monkeypatch.setenv("HOME", "/home/anita")
    settings = loaded(flags={"symbols": ["itc", " sbin "]}).settings
    assert settings.symbols == ("ITC", "SBIN")
    assert settings.storage.data_dir == Path("/home/anita/.hftray")


# Modes


@pytest.mark.parametrize(
    ("environment", "mode"),
    [
        ({}, "simulation"),
        ({"GROWW_API_KEY": "k", "GROWW_API_SECRET": "s"}, "live"),
        ({"GROWW_API_KEY": "k"}, "simulation"),
        ({"GROWW_API_KEY": "k", "GROWW_API_SECRET": ""}, "simulation"),
        ({"GROWW_API_KEY": "k", "GROWW_API_SECRET": "s", "HFTRAY_MODE": "paper"}, "paper"),
        ({"HFTRAY_MODE": "replay"}, "replay"),
        ({"HFTRAY_MODE": "live"}, "live"),
    ],
)
def test_auto_means_live_with_both_keys_and_simulation_without(environment, mode):
    assert loaded(environment).settings.effective_mode == mode


# Refusals


@pytest.mark.parametrize(
    ("environment", "key", "origin", "allowed"),
    [
        ({"PORT": "none"}, "server.port", "environment PORT", "valid integer"),
        ({"PORT": "0"}, "server.port", "environment PORT", "greater than or equal to 1"),
        ({"PORT": "65536"}, "server.port", "environment PORT", "less than or equal to 65535"),
        ({"HFTRAY_MODE": "dream"}, "mode", "environment HFTRAY_MODE",
         "'auto', 'simulation', 'replay', 'paper' or 'live'"),
        ({"HFTRAY_SIGNALS__ENTRY_ON": "never"}, "signals.entry_on",
         "environment HFTRAY_SIGNALS__ENTRY_ON", "'close' or 'tick'"),
        ({"INITIAL_CAPITAL": "-5"}, "initial_capital", "environment INITIAL_CAPITAL",
         "greater than 0"),
        ({"INITIAL_CAPITAL": "nan"}, "initial_capital", "environment INITIAL_CAPITAL", "finite"),
        ({"HFTRAY_RISK__LEVERAGE": "21"}, "risk.leverage", "environment HFTRAY_RISK__LEVERAGE",
         "less than or equal to 20"),
        ({"HFTRAY_SIMULATION__SPEED": "nan"}, "simulation.speed",
         "environment HFTRAY_SIMULATION__SPEED", "less than or equal to 1000000"),
        ({"HFTRAY_REPLAY__FROM_DAY": "soon"}, "replay.from_day",
         "environment HFTRAY_REPLAY__FROM_DAY", "valid date"),
        ({"HFTRAY_REPLAY__STRICT": "perhaps"}, "replay.strict",
         "environment HFTRAY_REPLAY__STRICT", "valid boolean"),
        ({"HFTRAY_SYMBOLS": "TCS,,ITC"}, "symbols", "environment HFTRAY_SYMBOLS",
         "a symbol is empty"),
        ({"HFTRAY_SYMBOLS": "TCS,tcs"}, "symbols", "environment HFTRAY_SYMBOLS",
         "a symbol is listed twice"),
    ],
)  # fmt: skip
def test_a_bad_value_is_told_its_key_its_origin_and_what_is_allowed(
    environment, key, origin, allowed
):
    message = told(environment)
    assert message.startswith(f"{key} (from {origin}): ")
    assert allowed in message


def test_a_bad_element_of_a_list_has_an_origin_too(file):
    mine = file("symbols: [TCS, {a: b}]")
    message = told(config=mine)
    assert message.startswith(f"symbols.1 (from {mine}): ")
    assert "valid string" in message


@pytest.mark.parametrize(
    ("environment", "key", "known"),
    [
        ({"HFTRAY_SPEED": "1"}, "speed", "simulation"),
        ({"HFTRAY_RISK__LEVARAGE": "2"}, "risk.levarage", "leverage"),
        ({"HFTRAY_RISK__SECRET__DEEPER": "2"}, "risk.secret", "leverage"),
    ],
)
def test_an_unknown_hftray_variable_is_refused_with_what_is_known(environment, key, known):
    (name,) = environment
    message = told(environment)
    assert message.startswith(f"{key} (from environment {name}): unknown key; allowed here: ")
    assert known in message.split("allowed here: ")[1].split(", ")


def test_an_unknown_key_of_a_file_names_the_file_and_its_neighbours(file):
    mine = file("exits:\n  stop_los_atr: 2\n")
    message = told(config=mine)
    assert message.startswith(f"exits.stop_los_atr (from {mine}): unknown key; allowed here: ")
    assert "stop_loss_atr" in message


def test_all_faults_are_told_at_once():
    message = told({"PORT": "0", "HFTRAY_MODE": "dream", "HFTRAY_SPEED": "1"})
    assert len(message.splitlines()) == 3


def test_a_value_where_a_section_belongs_and_the_reverse(file):
    mine = file("risk: 5")
    assert told(config=mine).startswith(f"risk (from {mine}): not a section; allowed in it: ")
    message = told({"HFTRAY_MODE__SPEED": "1"})
    assert message.startswith("mode.speed (from environment HFTRAY_MODE__SPEED): ")
    assert "'mode' is a value, not a section" in message


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"risk: {", "not valid YAML"),
        (b"- 1\n- 2\n", "expected keys and values"),
        (b"just words", "expected keys and values"),
        (b"mode: \xff\xfe\n", "UTF-8"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_reason(tmp_path, content, fault):
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    message = told(config=path)
    assert message.startswith(str(path))
    assert fault in message


def test_a_missing_file_is_named(tmp_path):
    message = told(config=tmp_path / "nowhere.yaml")
    assert "nowhere.yaml: cannot be read (No such file or directory)" in message


@pytest.mark.parametrize(
    "key", ["groww.api_key", "groww.api_secret", "server.api_token", "storage.secret_key"]
)
def test_a_secret_in_a_file_is_refused(file, key):
    section, leaf = key.split(".")
    mine = file(f"{section}: {{{leaf}: s3cret}}")
    message = told(config=mine)
    assert message.startswith(f"{key} (from {mine}): ")
    assert "environment" in message
    assert "s3cret" not in message


# Secrets


def test_no_secret_is_shown_by_settings_or_refusals():
    secrets = {
        "DATABASE_URL": "postgresql://anita:s3cret1@db/hftray",
        "GROWW_API_KEY": "s3cret2",
        "GROWW_API_SECRET": "s3cret3",
        "HFTRAY_API_TOKEN": "s3cret4",
        "HFTRAY_SECRET_KEY": "s3cret5",
    }
    both = loaded(secrets)
    shown = repr(both) + str(both.settings) + both.settings.model_dump_json()
    assert "s3cret" not in shown
    assert both.settings.groww.api_key.get_secret_value() == "s3cret2"
    with pytest.raises(ConfigError) as caught:
        loaded({**secrets, "HFTRAY_STORAGE": "postgresql://anita:s3cret6@db/x", "PORT": "0"})
    chain = f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__cause__}"
    assert "s3cret" not in chain


def test_the_shipped_files_are_found_and_valid():
    for name in ("hftray.yaml", "charges.yaml", "sessions.yaml", "instruments.yaml"):
        assert read_yaml(default_file(name))
