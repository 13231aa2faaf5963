"""Settings that an earlier state of Tailwatch knew under another name, and what to write instead.

A file that was right before must not end in a riddle: `unknown key` with a list of sixteen others would be one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tailwatch.config_tree import Leaf, Node


@dataclass(frozen=True, slots=True)
class Renamed:
    """The name within the same section now, and by old value the new one; `left_out` is what leaving it out means."""

    name: str
    values: Mapping[str, str] = field(default_factory=dict)
    left_out: str = ""

    def said(self, old_name: str, node: Node) -> str:
        """What to tell of a key that stands in a file under its old name."""
        old = node.text if isinstance(node, Leaf) else ""
        if old in self.values:
            wanted = f"write {self.name}: {self.values[old]}"
        else:
            pairs = [f"{self.name}: {new} for {old_name}: {known}" for known, new in self.values.items()]
            wanted = f"write {', '.join(pairs)}"
        return f"is called {self.name} now; {wanted}" + (f"; {self.left_out}" if self.left_out else "")


RENAMED: Final[Mapping[str, Renamed]] = {
    "agent.execution": Renamed(
        "policy",
        {"local": "all-src", "drain": "all-sp"},
        "without it, policy: adaptive chooses within agent.budget",
    ),
}
