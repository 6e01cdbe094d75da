"""Where settings come from, and what a wrong one is told.

Layers, later ones win: config/hftray.yaml (inside the wheel), --config FILE, environment,
command-line flags. `load` merges them and remembers the origin of every value.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from hftray.core.errors import ConfigError
from hftray.settings import Settings

# The specification's environment variables, and the secrets that never belong in a file.
ENVIRONMENT = {
    "DATABASE_URL": "storage.database_url",
    "PORT": "server.port",
    "INITIAL_CAPITAL": "initial_capital",
    "GROWW_API_KEY": "groww.api_key",
    "GROWW_API_SECRET": "groww.api_secret",
    "GROWW_TOTP_SECRET": "groww.totp_secret",
    "HFTRAY_API_TOKEN": "server.api_token",
    "HFTRAY_DATA_DIR": "storage.data_dir",
    "HFTRAY_SECRET_KEY": "storage.secret_key",
}
ENVIRONMENT_ONLY = (
    "groww.api_key",
    "groww.api_secret",
    "groww.totp_secret",
    "server.api_token",
    "storage.secret_key",
)


DEFAULTS = "config/hftray.yaml"
# libyaml reads the shipped files in a tenth of the time, where PyYAML was built with it.
_SAFE = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings and, for every dotted key, where its value came from."""

    settings: Settings
    origins: dict[str, str]


def default_file(name: str) -> Path:
    """A file of config/: beside the checkout while developing, inside the wheel otherwise."""
    packaged = Path(str(files("hftray"))) / "config" / name
    checkout = Path(str(files("hftray"))).parent / "config" / name
    return packaged if packaged.exists() else checkout


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping; ConfigError naming the file and what is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text: {error.reason}") from error
    try:
        data = yaml.load(text, Loader=_SAFE)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected keys and values at the top level")
    return data


def load(
    *,
    config: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Loaded:
    """Merge all layers and validate; ConfigError names the key, its origin and what is allowed.

    `flags` maps dotted keys to values; None values are flags that were not given.
    """
    env = os.environ if environment is None else environment
    layers = [(DEFAULTS, _flatten(read_yaml(default_file("hftray.yaml"))))]
    if config is not None:
        layers.append((str(config), _own_file(config)))
    layers += [(f"environment {name}", {key: value}) for name, key, value in _from(env)]
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    layers.append(("command line", given))
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, layer in layers:
        for key, value in layer.items():
            if value is None and any(known.startswith(f"{key}.") for known in values):
                continue  # a section in which every line is a comment
            values[key] = value
            origins[key] = origin
    try:
        return Loaded(Settings.model_validate(_nest(values, origins)), origins)
    except ValidationError as error:
        raise ConfigError(_explain(error, origins)) from error


def _own_file(path: Path) -> dict[str, Any]:
    flat = _flatten(read_yaml(path))
    for key in ENVIRONMENT_ONLY:
        if key in flat:
            name = next(name for name, target in ENVIRONMENT.items() if target == key)
            raise ConfigError(
                f"{key} (from {path}): a secret belongs in no file; set the environment "
                f"variable {name}"
            )
    return flat


def _from(env: Mapping[str, str]) -> list[tuple[str, str, Any]]:
    found: list[tuple[str, str, Any]] = []
    for name in sorted(env):
        value = env[name]
        if name in ENVIRONMENT:
            if value:
                found.append((name, ENVIRONMENT[name], value))
        elif name.startswith("HFTRAY_"):
            key = name.removeprefix("HFTRAY_").lower().replace("__", ".")
            is_list = key in ("symbols", "strategies.files")
            found.append((name, key, value.split(",") if is_list else value or None))
    return found


def _flatten(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{name}.")
        else:
            flat[name] = value
    return flat


def _nest(flat: Mapping[str, Any], origins: Mapping[str, str]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *parents, leaf = name.split(".")
        here = nested
        for parent in parents:
            here = here.setdefault(parent, {})
            if not isinstance(here, dict):
                raise ConfigError(
                    f"{name} (from {origins[name]}): '{parent}' is a value, not a section"
                )
        here[leaf] = value
    return nested


def _explain(error: ValidationError, origins: Mapping[str, str]) -> str:
    lines = []
    for fault in error.errors():
        key = ".".join(str(part) for part in fault["loc"])
        origin = _origin(key, origins)
        where = f" (from {origin})" if origin else ""
        if fault["type"] == "extra_forbidden":
            lines.append(f"{key}{where}: unknown key; allowed here: {_allowed(fault['loc'][:-1])}")
        elif fault["type"] == "model_type":
            lines.append(f"{key}{where}: not a section; allowed in it: {_allowed(fault['loc'])}")
        else:
            lines.append(f"{key}{where}: {fault['msg']}")
    return "\n".join(lines)


def _origin(key: str, origins: Mapping[str, str]) -> str:
    """Of the key, of what lies below it (a section), or above it (an element of a list)."""
    if key in origins:
        return origins[key]
    related = (
        origin
        for name, origin in origins.items()
        if name.startswith(f"{key}.") or key.startswith(f"{name}.")
    )
    return next(related, "")


def _allowed(path: tuple[int | str, ...]) -> str:
    model: Any = Settings
    for part in path:
        model = model.model_fields[part].annotation
    return ", ".join(sorted(model.model_fields))
