"""What one would write first to tell why a job died: a list of rules, a text classifier, the nearest template.

All of them get the same lines as we do, and none the name of a file.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import re2

from analytics.gpu.signatures import Signature
from analytics.gpu.templates import masked

#: Given the texts and reasons of some logs: what tells the reason of another, or None.
Learner = Callable[[Sequence[str], Sequence[str]], Callable[[str], str | None]]
_LAST_LINES = 60


class FirstMatch:
    """Our own rules as an exit-spec table has them: line by line, the first rule that matches is the answer."""

    def __init__(self, signatures: Sequence[Signature]) -> None:
        chosen = [one for one in signatures if one.role in ("root", "cascade") and one.scope == "line"]
        self._rules = [(re2.compile(one.pattern), one.reason) for one in chosen]

    def __call__(self, text: str) -> str | None:
        """The reason, or None where no rule matches any line."""
        for line in text.splitlines():
            for pattern, reason in self._rules:
                if pattern.search(line):
                    return reason
        return None

    def hits(self, text: str) -> int:
        """How many lines some rule matches: the whole text is read."""
        return sum(any(pattern.search(line) for pattern, _ in self._rules) for line in text.splitlines())


def hashed_words(texts: Sequence[str], reasons: Sequence[str]) -> Callable[[str], str | None]:
    """Logistic regression over hashed words and pairs of words of the whole text."""
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import SGDClassifier

    vectors = HashingVectorizer(n_features=2**18, ngram_range=(1, 2), alternate_sign=False)
    model: Any = SGDClassifier(loss="log_loss", alpha=1e-5, max_iter=100, random_state=0)
    model.fit(vectors.transform(texts), list(reasons))
    return lambda text: str(model.predict(vectors.transform([text]))[0])


def nearest_templates(texts: Sequence[str], reasons: Sequence[str]) -> Callable[[str], str | None]:
    """The templates of drain3 alone: each one seen votes for the reasons it was seen with, the rarer the more."""
    miner = drain()
    seen: dict[int, Counter[str]] = {}
    for text, reason in zip(texts, reasons, strict=True):
        for cluster in {miner.add_log_message(line)["cluster_id"] for line in _lines(text)}:
            seen.setdefault(cluster, Counter())[reason] += 1

    def told(text: str) -> str | None:
        votes: Counter[str] = Counter()
        for line in _lines(text):
            found = miner.match(line)
            if found is not None and found.cluster_id in seen:
                known = seen[found.cluster_id]
                for reason, count in known.items():
                    votes[reason] += count / known.total() ** 2  # type: ignore[assignment]
        return votes.most_common(1)[0][0] if votes else None

    return told


def drain() -> Any:
    """A miner of drain3 that says nothing and keeps nothing."""
    from drain3 import TemplateMiner
    from drain3.template_miner_config import TemplateMinerConfig

    settings = TemplateMinerConfig()
    settings.profiling_enabled = False
    return TemplateMiner(config=settings)


def _lines(text: str) -> list[str]:
    return [line for line in map(masked, text.splitlines()[-_LAST_LINES:]) if line]
