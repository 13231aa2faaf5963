"""What would only fail in Grafana, found before it gets there: names that clash, uids too long, links to nowhere."""

import re
from collections.abc import Iterable, Sequence, Set
from typing import Final

from tailwatch.errors import DeclarationError
from tailwatch.grafana.declared import UID_LENGTH, RuleGroup

_UID: Final = re.compile(rf"[a-zA-Z0-9_-]{{1,{UID_LENGTH}}}")
_LONGEST_TITLE: Final = 190


def check(groups: Sequence[RuleGroup], panels: Set[str]) -> None:
    """Refuse groups that Grafana would refuse, or that lead nowhere.

    Args:
        panels: "dashboard/panel" of all there are.
    Raises:
        DeclarationError: everything found.
    """
    rules = [rule for group in groups for rule in group.rules]
    faults = [
        *(f"two groups are called {name}" for name in _twice(group.name for group in groups)),
        *(f"two rules have the uid {uid}" for uid in _twice(rule.uid for rule in rules)),
        *(f"two rules have the title {title!r}" for title in _twice(rule.title for rule in rules)),
        *(f"{rule.id}: uid {rule.uid!r} is none" for rule in rules if not _UID.fullmatch(rule.uid)),
        *(
            f"{rule.id}: its title has {len(rule.title)} characters; want 1 to {_LONGEST_TITLE}"
            for rule in rules
            if not 0 < len(rule.title) <= _LONGEST_TITLE
        ),
        *(f"{rule.id}: no panel {rule.panel!r}" for rule in rules if rule.panel and rule.panel not in panels),
    ]
    if faults:
        raise DeclarationError("alert rules cannot be rendered: " + "; ".join(faults))


def _twice(names: Iterable[str]) -> list[str]:
    seen = list(names)
    return sorted({name for name in seen if seen.count(name) > 1})
