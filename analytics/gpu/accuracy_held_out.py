"""Accuracy with sources held out: no log of a repository takes part in what judges its logs.

Two protocols. `held_out`: the curve and the threshold of confidence are fitted without the source; rules stay, as they
were written by people. `held_out_strictly`: also each text of a rule is dropped that stands in no log of another
source, as if it had been written for this one, unless the rule comes from public documents of other projects (it names
them, documents.yaml). With `documented=False` these are dropped, too, which is too hard on rules for rare failures: an
Xid that one source alone shows is in NVIDIA's catalogue nonetheless. A text is an alternative of a pattern and, with
exceptions, a class.
What no protocol holds out: tiers, weights and the cleaning of lines, which were made with these logs in view.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from analytics.gpu.accuracy import Judged
from analytics.gpu.accuracy_labels import Label, repository_of
from analytics.gpu.classifier import Sight, diagnose
from analytics.gpu.confidence import Parameters, features
from analytics.gpu.confidence_fit import Example, fit
from analytics.gpu.documents import documents
from analytics.gpu.matches import Match
from analytics.gpu.node_events import JobFacts
from analytics.gpu.scanning import Scan
from analytics.gpu.signature_alternatives import texts_of
from analytics.gpu.taxonomy import taxonomy

#: Labelled logs are logs of failures: that somebody told.
FAILED = JobFacts(failed=True)


@dataclass(frozen=True, slots=True)
class Labelled:
    """A scanned log and its label."""

    scan: Scan
    label: Label

    @property
    def source(self) -> str:
        return repository_of(self.label.source)


def judge(one: Labelled, parameters: Parameters | None = None) -> Judged:
    """One log, diagnosed by itself."""
    found = diagnose([one.scan], FAILED, parameters)
    guessed = taxonomy().get(found.guess or "")
    return Judged(
        name=one.label.file,
        reason=one.label.reason,
        category=one.label.category,
        guess=found.guess,
        guessed_category=None if guessed is None else guessed.category,
        answered=found.status == "answered",
        confidence=found.confidence,
    )


def example(one: Labelled) -> Example | None:
    """What confidence learns from a log; None where nothing was found, which is never an answer."""
    choice = Sight([one.scan], FAILED).choice
    if choice.root is None:
        return None
    return Example(features(choice), choice.root.reason == one.label.reason, one.source)


def fitted(labelled: Sequence[Labelled], fitted_on: str) -> Parameters:
    """Parameters of confidence from labelled logs.

    Raises:
        TooFewDataError: there are too few of them.
    """
    examples = [made for made in map(example, labelled) if made is not None]
    return fit(examples, fitted_on, logs=len(labelled))


def held_out(labelled: Sequence[Labelled]) -> list[Judged]:
    """Each log by parameters that were fitted on logs of other sources; errors as of `fitted`."""
    return _held_out({one.source: [two for two in labelled if two.source == one.source] for one in labelled}, labelled)


def held_out_strictly(labelled: Sequence[Labelled], *, documented: bool = True) -> list[Judged]:
    """The same, with only the texts of rules that stand in some log of another source; errors as of `fitted`.

    Args:
        documented: texts of rules that name documents of other projects stay; without it they are dropped as others.
    """
    sources: dict[str, set[str]] = defaultdict(set)
    for one in labelled:
        for match in one.scan.matches:
            for text in texts_of(match):
                sources[text].add(one.source)
    groups: dict[str, list[Labelled]] = {}
    for one in labelled:
        known = tuple(
            match
            for match in one.scan.matches
            if (documented and _documented_elsewhere(match, one.source))
            or any(sources[text] - {one.source} for text in texts_of(match))
        )
        groups.setdefault(one.source, []).append(replace(one, scan=replace(one.scan, matches=known)))
    return _held_out(groups, labelled)


def _documented_elsewhere(match: Match, source: str) -> bool:
    """Whether a rule comes from documents, none of which is of the source itself."""
    named = match.signature.documents
    return bool(named) and all(documents()[name].repository != source for name in named)


def _held_out(groups: Mapping[str, Sequence[Labelled]], labelled: Sequence[Labelled]) -> list[Judged]:
    made = [(one.source, example(one)) for one in labelled]
    judged = []
    for source, group in groups.items():
        known = [taught for other, taught in made if other != source and taught is not None]
        count = sum(other != source for other, _ in made)
        parameters = fit(known, f"all sources but {source}", logs=count)
        judged += [judge(one, parameters) for one in group]
    return judged
