"""Xid numbers of NVIDIA's driver: what each means, whose fault it mostly is, and what to do; facts in xid_actions.yaml.

Of several Xids of one GPU one is followed: hardware before application before what is only sympathetic, the earliest
of these. The number says less than one would like: an application's page fault (31) may be a broken GPU, so the
same number on one node for many jobs speaks against the node.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Final, Literal, get_args

import msgspec
import yaml

from analytics.gpu.signatures import Reaction

Kind = Literal["hardware", "application", "sympathetic", "notice"]

XIDS_FILE: Final = Path(__file__).with_name("xid_actions.yaml")


class XidAction(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the catalogue's name of an action means: for the scheduler and in words."""

    retry: Reaction
    words: str


class Xid(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One number.

    Attributes:
        mnemonic: the catalogue's name.
        title: in our words.
        action: name of an action, as the catalogue has it.
        reason: of the taxonomy; "" for notices that say nothing of a failure.
    """

    mnemonic: str
    title: str
    kind: Kind
    action: str
    reason: str = ""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    actions: dict[str, XidAction]
    xids: dict[int, Xid]


@cache
def _file() -> _File:
    return msgspec.convert(yaml.safe_load(XIDS_FILE.read_text(encoding="utf-8")), _File)


def xids() -> Mapping[int, Xid]:
    """Number -> what it means, ascending; numbers that are not in use are absent."""
    return _file().xids


def action_of(xid: Xid) -> XidAction:
    """What to do about it."""
    return _file().actions[xid.action]


def first_to_follow(numbers: Iterable[int]) -> int | None:
    """Which Xid of one GPU says most of why it failed, None where none is known.

    Args:
        numbers: in the order of time.
    """
    order = get_args(Kind)
    known = [number for number in numbers if number in xids()]
    return min(known, key=lambda number: order.index(xids()[number].kind), default=None)
