"""The file of a SQLite database, found without opening it: opening one that is not there would make it."""

from pathlib import Path


def sqlite_file(url: str) -> Path | None:
    """The file behind a database address; None for a server, or where nothing is kept in a file."""
    name = url.partition("?")[0].partition(":///")[2]
    is_file = url.startswith(("sqlite:", "sqlite+")) and name not in ("", ":memory:")
    return Path(name) if is_file else None
