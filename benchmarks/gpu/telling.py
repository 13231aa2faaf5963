"""Table 2: how well labelled excerpts of real failures are told, beside peers, with sources held out.

Peers that learn never see a log of the repository they are asked about. Our rules were written by people, some of them
after mistakes on these excerpts had been seen; what that is worth say the protocols of held-out sources
(analytics/gpu/accuracy_held_out.py).
"""

import os
from collections.abc import Sequence
from pathlib import Path

from analytics.gpu.accuracy import NOTHING, Accuracy, accuracy
from analytics.gpu.accuracy_held_out import Labelled, held_out, held_out_strictly, judge
from analytics.gpu.accuracy_labels import Label, read_labels
from analytics.gpu.cleaning import Origin
from analytics.gpu.scanning import Scanner
from analytics.gpu.signature_files import shipped_signatures
from analytics.gpu.taxonomy import taxonomy
from benchmarks.gpu.goals import ABSTENTION, HELD_OUT, LEAST_COVERAGE
from benchmarks.gpu.peers import FirstMatch, Learner, hashed_words, nearest_templates
from benchmarks.gpu.sizing import Sizing
from benchmarks.tables import Column, Row, Table
from benchmarks.targets import Scoreboard

REAL_VARIABLE = "TAILWATCH_TEST_DATA"
#: Parts that the sources are dealt into for peers that learn: each is asked about by a learner of the other nine.
PARTS = 10
LEARNERS: dict[str, Learner] = {
    "hashed words and pairs, logistic regression": hashed_words,
    "templates of drain3 alone": nearest_templates,
}
COLUMNS = [
    Column("who", "who"), Column("held", "held out"), Column("reason", "reason right", 3),
    Column("f1", "macro-F1", 3), Column("category", "category right", 3), Column("coverage", "answered", 3),
    Column("answered", "of these right", 3),
]  # fmt: skip


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """Ours by each protocol, then the peers."""
    del size
    table = Table("telling", "2. Telling failures", COLUMNS)
    folder = Path(os.environ.get(REAL_VARIABLE) or "-", "gpu_logs")
    if not (folder / "labels.csv").is_file():
        why = f"skipped: {REAL_VARIABLE} names no folder with gpu_logs/labels.csv"
        table.notes.append(why)
        for target in (HELD_OUT, ABSTENTION):
            board.fail(target, why)
        return [table]
    labels = read_labels((folder / "labels.csv").read_text(encoding="utf-8"), "labels.csv")
    contents = [(folder / label.file).read_bytes() for label in labels]
    scanner = Scanner(shipped_signatures())
    labelled = [Labelled(scanner.scan([data], Origin("log")), one) for data, one in zip(contents, labels, strict=True)]
    shipped, confident, strict, strictest = (
        accuracy([judge(one) for one in labelled]),
        accuracy(held_out(labelled)),
        accuracy(held_out_strictly(labelled)),
        accuracy(held_out_strictly(labelled, documented=False)),
    )
    protocols = {
        "nothing": shipped,
        "the source, from confidence": confident,
        "the source, from confidence and texts of rules": strict,
        "the same, and what is documented": strictest,
    }
    for held, figures in protocols.items():
        table.rows.append(_row("tailwatch", held, figures))
    texts = [data.decode("utf-8", errors="replace") for data in contents]
    table.rows.append(
        _peer_row("the same rules, first match", "nothing", labels, list(map(FirstMatch(scanner.signatures), texts)))
    )
    for name, learner in LEARNERS.items():
        table.rows.append(_peer_row(name, "a tenth of the sources", labels, _told(learner, labelled, texts)))
    sources = len({one.source for one in labelled})
    table.notes.append(
        f"{len(labelled)} excerpts of {sources} sources, the development half: rules were mended on mistakes made here"
    )
    board.score(
        HELD_OUT,
        strict.category,
        f"texts of rules that no other source shows are dropped, too, but those of public documents; these, too "
        f"{strictest.category:.3f}, none {confident.category:.3f}, as shipped {shipped.category:.3f}",
    )
    answered = confident.answered if confident.answered is not None else float("nan")
    if confident.coverage < LEAST_COVERAGE:
        board.fail(ABSTENTION, f"{confident.coverage:.3f} answered, wanted {LEAST_COVERAGE} or more")
    else:
        board.score(ABSTENTION, answered, f"{confident.coverage:.3f} answered, confidence without the log's source")
    return [table]


def _told(learner: Learner, labelled: Sequence[Labelled], texts: Sequence[str]) -> list[str | None]:
    """What a peer says of each log, having learned from the other tenths of the sources."""
    part = {source: place % PARTS for place, source in enumerate(sorted({one.source for one in labelled}))}
    told: list[str | None] = [None] * len(texts)
    for own in range(PARTS):
        others = [place for place, one in enumerate(labelled) if part[one.source] != own]
        say = learner([texts[place] for place in others], [labelled[place].label.reason for place in others])
        for place, one in enumerate(labelled):
            if part[one.source] == own:
                told[place] = say(texts[place])
    return told


def _row(who: str, held: str, found: Accuracy) -> Row:
    return {
        "who": who, "held": held, "reason": found.reason, "f1": found.macro_f1, "category": found.category,
        "coverage": found.coverage, "answered": found.answered,
    }  # fmt: skip


def _peer_row(who: str, held: str, labels: Sequence[Label], told: Sequence[str | None]) -> Row:
    """A peer's figures; it answers whatever it finds."""
    known = taxonomy()
    right = [guess == label.reason for guess, label in zip(told, labels, strict=True)]
    categories = [
        guess is not None and guess in known and known[guess].category == label.category
        for guess, label in zip(told, labels, strict=True)
    ]
    reasons = sorted({label.reason for label in labels})
    shown = [guess or NOTHING for guess in told]
    scores = []
    for reason in reasons:
        hits = sum(good and label.reason == reason for good, label in zip(right, labels, strict=True))
        bearing = sum(label.reason == reason for label in labels)
        scores.append(2 * hits / (bearing + shown.count(reason)))
    given = sum(guess is not None for guess in told)
    return {
        "who": who, "held": held, "reason": sum(right) / len(right), "f1": sum(scores) / len(scores),
        "category": sum(categories) / len(categories), "coverage": given / len(told),
        "answered": sum(right) / given if given else None,
    }  # fmt: skip
