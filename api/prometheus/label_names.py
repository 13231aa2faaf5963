"""Label names in paths and in text expositions: Prometheus' reversible escaping of names beyond [a-zA-Z0-9_].

`U__` begins an escaped name; in it `__` is one underscore and `_1f600_` the character of that hexadecimal number.
"""

import re

_PREFIX = "U__"
_LEGACY = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_LEGACY_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_PART = re.compile(r"__|_([0-9a-fA-F]{1,6})_|[^_]")


def unescaped(name: str) -> str:
    """The name that an escaped one stands for; any other, and one escaped wrongly, as it is."""
    if not name.startswith(_PREFIX):
        return name
    rest, at, found = name.removeprefix(_PREFIX), 0, []
    while at < len(rest):
        part = _PART.match(rest, at)
        if part is None:
            return name
        if part[1]:
            number = int(part[1], 16)
            if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
                return name
            found.append(chr(number))
        else:
            found.append("_" if part[0] == "__" else part[0])
        at = part.end()
    return "".join(found)


def escaped(name: str, *, metric: bool = False) -> str:
    """The name in characters that every Prometheus takes; a valid one as it is."""
    if (_LEGACY_METRIC if metric else _LEGACY).fullmatch(name):
        return name
    characters = ("__" if c == "_" else c if c.isascii() and c.isalnum() else f"_{ord(c):x}_" for c in name)
    return _PREFIX + "".join(characters)
