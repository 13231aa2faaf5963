"""`tailwatch db upgrade` and `tailwatch db backup`: this release's tables, and a copy of them."""

import argparse
from pathlib import Path


def run(args: argparse.Namespace) -> int:
    """Do what the action says."""
    from tailwatch.settings_flags import loaded_from

    settings = loaded_from(args).settings
    if args.action == "backup":
        return _backup(settings.database.url, Path(args.file))
    from store.connect import upgrade
    from tailwatch.data_folder import prepare_data_folder
    from tailwatch.secrets_hidden import without_password

    if settings.database.url.startswith("sqlite:"):
        prepare_data_folder(settings.data_dir)
    print(f"{without_password(settings.database.url)}: revision {upgrade(settings.database.url)}")
    return 0


def _backup(url: str, target: Path) -> int:
    from store.backup import copy_sqlite
    from store.errors import BackupError
    from tailwatch.database_file import sqlite_file
    from tailwatch.secrets_hidden import without_password

    file = sqlite_file(url)
    if file is None:
        raise BackupError(
            f"{without_password(url)} is no SQLite file; for PostgreSQL use its own tool, "
            "for example: pg_dump --format=custom --file=FILE DATABASE"
        )
    size = copy_sqlite(file, target.absolute())
    print(f"{target}: a copy of {file}, {size:,} bytes, looked through and found whole")
    return 0
