"""Keeps passwords out of what is printed."""

from urllib.parse import urlsplit

HIDDEN = "***"
_SECRET_WORDS = ("password", "secret", "token", "api_key")


def without_password(url: str) -> str:
    """A database address with its password replaced."""
    parts = urlsplit(url)
    if not parts.password:
        return url
    user, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user.partition(':')[0]}:{HIDDEN}@{host}").geturl()


def shown(key: str, value: object) -> object:
    """A setting's value as it may be shown: secrets hidden, passwords cut out of addresses."""
    if isinstance(value, str) and value:
        name = key.rpartition(".")[2].lower()
        if any(word in name for word in _SECRET_WORDS) and not name.endswith("_path"):
            return HIDDEN
        if "://" in value:
            return without_password(value)
    return value
