"""What of the whole configuration holds for as long as an agent runs; agents/reload.py says it of its own section."""

from collections.abc import Iterator

import msgspec

from tailwatch.errors import ConfigError
from tailwatch.settings import Loaded, Settings

_NEEDS_RESTART = ("data_dir", "transport")


def refuse_what_needs_a_restart(running: Settings, loaded: Loaded) -> None:
    """Raises ConfigError with a line for each such key that differs; values stay untold, there are passwords."""
    problems = []
    for section in _NEEDS_RESTART:
        for key in _differences(section, getattr(running, section), getattr(loaded.settings, section)):
            place = loaded.places.get(key)
            said = f"{key}: changed since the agent started: that needs a restart; put it back, or restart the agent"
            problems.append(f"{place}: {said}" if place else said)
    if problems:
        raise ConfigError(problems)


def _differences(key: str, before: object, after: object) -> Iterator[str]:
    if isinstance(before, msgspec.Struct) and type(before) is type(after):
        for name in before.__struct_fields__:
            yield from _differences(f"{key}.{name}", getattr(before, name), getattr(after, name))
    elif before != after:
        yield key
