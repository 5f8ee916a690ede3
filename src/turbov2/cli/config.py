"""`turbov2 config`: every setting, its value and where it came from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from turbov2.settings import Setting, Settings

_SIZES = {"GiB": 1 << 30, "GB": 10**9, "MiB": 1 << 20, "MB": 10**6, "KiB": 1 << 10, "kB": 1000}


def config(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, with what each setting means.")
    ] = False,
) -> None:
    """Show every setting, its value and where it came from. Keys are never printed."""
    from turbov2.cli._console import print_json, print_table
    from turbov2.settings import SETTINGS, load_settings

    settings = load_settings()
    if as_json:
        rows = [_json_row(setting, settings) for setting in SETTINGS]
        print_json({"settings": rows, "weights_overrides": settings.hub_overrides})
        return
    print_table(_table(settings))


def _table(settings: Settings) -> Table:
    from rich.text import Text

    from turbov2.cli._console import make_table
    from turbov2.settings import SETTINGS

    table = make_table("VARIABLE", "VALUE", "SOURCE")
    rows = [(s.variable, value_text(s, settings), settings.sources[s.field]) for s in SETTINGS]
    rows += [(name, repo, "environment") for name, repo in settings.hub_overrides.items()]
    for variable, value, source in rows:
        style = "dim" if source == "default" else "bold green"
        table.add_row(Text(variable, "cyan"), Text(value or "-"), Text(source, style))
    return table


def _json_row(setting: Setting, settings: Settings) -> dict[str, object]:
    value = getattr(settings, setting.field)
    return {
        "variable": setting.variable,
        "value": value_text(setting, settings) if setting.is_secret else value,
        "source": settings.sources[setting.field],
        "kind": setting.kind,
        "meaning": setting.meaning,
    }


def value_text(setting: Setting, settings: Settings) -> str:
    """Returns the value as one would write it in the environment; for a secret, only whether there is one."""
    if setting.field == "api_key":
        return _keys_text(len(settings.api_keys()))
    if setting.is_secret:
        return "set" if getattr(settings, setting.field) else "not set"
    if settings.sources[setting.field] == "default":
        return setting.default
    value = getattr(settings, setting.field)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value)
    if setting.kind == "duration":
        return _duration_text(value)
    return _size_text(value) if setting.kind == "size" else str(value)


def _keys_text(n_keys: int) -> str:
    if not n_keys:
        return "not set"
    return f"set ({n_keys} key{'s' if n_keys > 1 else ''})"


def _duration_text(seconds: float) -> str:
    """Returns "1h30m" or "2.5s", which parse back to the same; "-1s" is for ever."""
    if math.isinf(seconds):
        return "-1s"
    if seconds < 60 or seconds != int(seconds):
        return f"{seconds:g}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (rest, "s"))
    return "".join(f"{count}{unit}" for count, unit in parts if count)


def _size_text(n_bytes: int) -> str:
    """Returns the size in the largest unit that divides it."""
    for unit, unit_bytes in _SIZES.items():
        if n_bytes and n_bytes % unit_bytes == 0:
            return f"{n_bytes // unit_bytes}{unit}"
    return str(n_bytes)
