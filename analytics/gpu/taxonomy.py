"""Reasons for which GPU jobs die, as data in taxonomy.yaml: category, title, and what to do by default.

The reasons are those of the published studies of Philly's and later clusters, with what newer hardware and schedulers
add. Whether a checkpoint that cannot be read is the user's or the cluster's is a matter of view: the category is a
column, and a site's own rules may say something else.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

import msgspec
import yaml

from analytics.gpu.signatures import Category, Reaction

TAXONOMY_FILE: Final = Path(__file__).with_name("taxonomy.yaml")


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One reason.

    Attributes:
        title: in words, for tables and headings.
        retry, action: what its signatures mean where they say nothing else.
    """

    category: Category
    title: str
    retry: Reaction
    action: str


@cache
def taxonomy() -> Mapping[str, Reason]:
    """Name of a reason -> what it means, in the file's order: infrastructure, AI engine, user."""
    document = yaml.safe_load(TAXONOMY_FILE.read_text(encoding="utf-8"))
    return msgspec.convert(document["reasons"], dict[str, Reason])
