"""Public documents from which signatures come, as data in documents.yaml.

A signature that names documents holds only texts that stand in them: whoever has the documents can check the row, and
could have written it without a log at hand. What is said of it in judging accuracy is in accuracy_held_out.py.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

import msgspec
import yaml

DOCUMENTS_FILE: Final = Path(__file__).with_name("documents.yaml")


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One document.

    Attributes:
        title, address: what it is, and where.
        repository: the project that publishes it, as accuracy_labels.repository_of writes one; empty where that is no
            project on a forge.
    """

    title: str
    address: str
    repository: str = ""


@cache
def documents() -> Mapping[str, Document]:
    """Name of a document -> what it is, in the file's order."""
    read = yaml.safe_load(DOCUMENTS_FILE.read_text(encoding="utf-8"))
    return msgspec.convert(read["documents"], dict[str, Document])
