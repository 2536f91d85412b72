"""Writes a config as TOML: what `tomllib` reads back is what was written."""

import json
from collections.abc import Mapping
from typing import Any


def to_toml(values: Mapping[str, Any]) -> str:
    """Return nested values as TOML; mappings become tables, lists of mappings arrays of tables.

    Raises:
        ValueError: a value has no TOML form, as None.
    """
    return "\n".join(_table(values, ())).strip() + "\n"


def _table(values: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    plain = {key: value for key, value in values.items() if not _is_table(value)}
    lines = [f"{_key(key)} = {_value(value)}" for key, value in plain.items()]
    for key, value in values.items():
        inner = (*path, key)
        name = ".".join(_key(part) for part in inner)
        if isinstance(value, Mapping):
            is_needless = bool(value) and all(_is_table(entry) for entry in value.values())
            lines += [*([] if is_needless else ["", f"[{name}]"]), *_table(value, inner)]
        elif _is_table(value):
            for entry in value:
                lines += ["", f"[[{name}]]", *_table(entry, inner)]
    return lines


def _is_table(value: Any) -> bool:
    is_list = isinstance(value, list) and bool(value)
    return isinstance(value, Mapping) or (
        is_list and all(isinstance(entry, Mapping) for entry in value)
    )


def _key(key: str) -> str:
    is_bare = bool(key) and key.isascii() and all(c.isalnum() or c in "_-" for c in key)
    return key if is_bare else _text(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float | int):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(entry) for entry in value)}]"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(key)} = {_value(entry)}" for key, entry in value.items())
        return f"{{ {inner} }}"
    raise ValueError(f"no TOML form: {value!r}")


def _text(text: str) -> str:
    """Quote as JSON does; DEL is the one character that JSON leaves as it is and TOML not."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
