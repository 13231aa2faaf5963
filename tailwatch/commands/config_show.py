"""`tailwatch config show`: every setting in effect and where it comes from, secrets hidden."""

import argparse
import json
from collections.abc import Iterator
from typing import Any


def run(args: argparse.Namespace) -> int:
    """One line per setting: dotted key, value as JSON, source."""
    import msgspec

    from tailwatch.secrets_hidden import shown
    from tailwatch.settings_flags import loaded_from

    loaded = loaded_from(args)
    lines = []
    for key, value in _flat(msgspec.to_builtins(loaded.settings), ""):
        if key.startswith(("agent.streams", "api.streams")):  # copies of `streams`
            continue
        place = loaded.places.get(key)
        lines.append((f"{key} = {json.dumps(shown(key, value), ensure_ascii=False)}", str(place or "default")))
    width = min(72, max(len(text) for text, _ in lines))
    for text, source in lines:
        print(f"{text.ljust(width)}  # {source}")
    return 0


def _flat(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Leaves with their dotted keys; an empty map or list is a leaf as well."""
    if isinstance(value, dict) and value:
        for name, child in value.items():
            yield from _flat(child, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and value:
        for index, child in enumerate(value):
            yield from _flat(child, f"{key}[{index}]")
    else:
        yield key, value
