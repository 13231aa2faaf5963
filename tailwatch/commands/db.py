"""`tailwatch db upgrade`: brings the database to this release's tables."""

import argparse


def run(args: argparse.Namespace) -> int:
    """Upgrade and say which revision the database has now."""
    from store.connect import upgrade
    from tailwatch.data_folder import prepare_data_folder
    from tailwatch.secrets_hidden import without_password
    from tailwatch.settings_flags import loaded_from

    settings = loaded_from(args).settings
    if settings.database.url.startswith("sqlite:"):
        prepare_data_folder(settings.data_dir)
    print(f"{without_password(settings.database.url)}: revision {upgrade(settings.database.url)}")
    return 0
