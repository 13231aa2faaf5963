"""A signature: what a kind of failure writes into a log, and what it means. The data lie in signatures/*.yaml."""

from typing import Literal

import msgspec

from analytics.gpu.log_lines import Source

Category = Literal["infrastructure", "ai_engine", "user"]
Role = Literal["root", "cascade", "confirm", "advice"]
Reaction = Literal["never", "same", "other_node", "more_mem", "backoff"]
Scope = Literal["line", "window"]


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One row of a rule file.

    Attributes:
        id: stable, never used again for something else; a site's own rule may replace a shipped one of the same id.
        reason, category: as in taxonomy.yaml; a site may put a reason into another category.
        role: `root` can be the cause; `cascade` follows from a cause elsewhere and is one only when nothing else is
            found; `confirm` only adds to another root's confidence; `advice` is printed with errors and says nothing.
        pattern, not_pattern: RE2 syntax, so matching is linear; a line counts if the first matches and the second not.
        sources: where it may stand; empty means anywhere.
        weight: 1 to 100, how much this text alone says.
        scope: `line`, or `window`: several lines that follow each other, joined by newlines.
        retry, action: what to do, for the scheduler and in words.
        documents: names of public documents in which every text of the pattern stands; none where it is experience.
        examples, counterexamples: texts that it must and must not match, written by us, run as tests.
    """

    id: str
    reason: str
    category: Category
    role: Role
    pattern: str
    not_pattern: str = ""
    sources: tuple[Source, ...] = ()
    weight: int = 50
    scope: Scope = "line"
    retry: Reaction
    action: str
    documents: tuple[str, ...] = ()
    examples: tuple[str, ...]
    counterexamples: tuple[str, ...] = ()
