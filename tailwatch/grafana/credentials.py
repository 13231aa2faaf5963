"""Secrets that are shown to Grafana: read from files or the environment, and never part of a message."""

import os
from pathlib import Path
from typing import Final

from tailwatch.errors import GrafanaError
from tailwatch.grafana.config import GrafanaSettings

TOKEN_VARIABLE: Final = "TAILWATCH_GRAFANA_TOKEN"


def authorization(settings: GrafanaSettings) -> str:
    """What Grafana shows to Tailwatch's API in the header Authorization; "" where it wants no key.

    Raises:
        GrafanaError: the file of the key cannot be read, or holds none.
    """
    if not settings.api_key_path:
        return ""
    return f"Bearer {_secret(settings.api_key_path, 'grafana.api_key_path')}"


def credential(settings: GrafanaSettings) -> tuple[str | tuple[str, str], str]:
    """(what grafana-client takes, what it is in words)."""
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if settings.token_path:
        return _secret(settings.token_path, "grafana.token_path"), f"the token in {settings.token_path}"
    if token:
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise GrafanaError(f"{TOKEN_VARIABLE} holds more than a token; put nothing but the token there")
        return token, f"the token in {TOKEN_VARIABLE}"
    if settings.username:
        password = _secret(settings.password_path, "grafana.password_path")
        return (settings.username, password), f"the user {settings.username}"
    raise GrafanaError(
        f"no credentials for Grafana at {settings.url}; make a service account with role Admin and a token, put the "
        f"token into a file and set grafana.token_path, or set {TOKEN_VARIABLE}, or set grafana.username and "
        "grafana.password_path"
    )


def _secret(path: str, key: str) -> str:
    """The one line of a file; its text stands in no message."""
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise GrafanaError(f"{key}: {path} cannot be read ({reason}); put the secret there") from None
    if not text or not text.isprintable():
        seen = "several lines" if text else "nothing"
        raise GrafanaError(f"{key}: {path} holds {seen}; want one secret on one line")
    return text
