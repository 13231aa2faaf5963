"""Documents of services: JSON objects that analytics writes and reads, kept as they are."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from store.errors import ServiceRowError

#: Of what analytics writes, the largest are the answers of a search: some hundred kilobytes.
DOCUMENT_MAX_BYTES: Final = 8 * 2**20

Document = Mapping[str, Any]
_decoder = msgspec.json.Decoder(dict[str, Any])


def as_text(what: str, document: Document) -> str:
    """The JSON of a document, its keys in order: equal documents are equal texts.

    Raises:
        ServiceRowError: it is no JSON that both databases take, or too large; `what` names it.
    """
    try:
        text = msgspec.json.encode(document, order="sorted").decode()
    except (TypeError, ValueError) as error:  # UnicodeEncodeError, too
        raise ServiceRowError(f"{what} cannot be written as JSON: {error}") from error
    if len(text) > DOCUMENT_MAX_BYTES:
        raise ServiceRowError(f"{what} has {len(text)} bytes of JSON; want at most {DOCUMENT_MAX_BYTES}")
    return text


def document_of(text: str) -> dict[str, Any]:
    """What `as_text` was given."""
    return _decoder.decode(text)
