"""Whether what is read as a log is one at all: told by its first bytes, so that a packed file is not called healthy."""

from typing import Final

from analytics.gpu.cleaning_blocks import utf16_of

#: First bytes of a log that are looked at.
LOOKED_AT: Final = 8 << 10
#: Controls in a text are tabs, line ends and colours; of random bytes a ninth is none of these.
MOST_CONTROLS: Final = 0.05
_TEXT_CONTROLS: Final = b"\b\t\n\f\r\x1b"
_CONTROLS: Final = bytes(each for each in (*range(1, 32), 127) if each not in _TEXT_CONTROLS)
#: (first bytes, what such a file is, whether it can be unpacked to something else)
_FORMATS: Final = (
    (b"\x1f\x8b", "packed by gzip", True),
    (b"\x28\xb5\x2f\xfd", "packed by zstd", True),
    (b"\xfd7zXZ\0", "packed by xz", True),
    (b"BZh", "packed by bzip2", True),
    (b"\x04\x22\x4d\x18", "packed by lz4", True),
    (b"PK\x03\x04", "a zip archive", True),
    (b"LPKSHHRH", "a systemd journal", True),
    (b"\x7fELF", "an ELF program or core", False),
)


def told_of(start: bytes) -> str | None:
    """What a file is instead of a log, in words that end a sentence; None for text.

    Args:
        start: its first bytes, LOOKED_AT or fewer where it has no more. NULs alone tell nothing: logs that are emptied
            while they are written begin with holes.
    """
    for magic, told, packed in _FORMATS:
        if start.startswith(magic) and _controls(start) > 0:
            return f"{told}: unpack it first" if packed else told
    if utf16_of(start) is None and _controls(start) > MOST_CONTROLS:
        return "binary, no text"
    return None


def _controls(start: bytes) -> float:
    """Their share in what is no NUL."""
    written = len(start) - start.count(0)
    return (len(start) - len(start.translate(None, _CONTROLS))) / written if written else 0.0
