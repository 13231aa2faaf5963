"""What failed jobs say that no signature knows: templates of their last lines, first those of no passed job.

Lines are masked (numbers, addresses, paths, names in quotes) and mined with Drain. A template is ranked by how much
more often it stands in failed jobs than in passed ones, smoothed, so that one seen once is not taken for a sure sign.
Someone who knows gives one a reason; `draft` makes a rule of it, for a site's file.
"""

import importlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from analytics.errors import DataError, MissingLibraryError
from analytics.gpu.roots import STRONG

#: Lines of a failed job that are mined, from its end.
TAIL_LINES: Final = 200
#: Lines of a passed job that templates are looked for in; more tell nothing new.
PASSED_LINES: Final = 20_000
#: Different templates that are kept, those used last.
MOST_TEMPLATES: Final = 20_000
LONGEST_TEXT: Final = 400
#: Added to counts of jobs with a template, half of it in each group: two jobs more with nothing known of them.
PRIOR: Final = 0.5

_MASKS: Final = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b", "<uuid>"),
        (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?", "<time>"),
        (r"\b[\w+-]+://[^\s'\"<>]+", "<url>"),
        (r"\b(?:[0-9a-fA-F]{2,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]\b", "<pci>"),
        (r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b", "<ip>"),
        (r"(?:[A-Za-z]:)?(?:[/\\][\w.@+~-]+){2,}[/\\]?", "<path>"),
        (r"\b0x[0-9a-fA-F]+\b", "<hex>"),
        (r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{12,}\b", "<hex>"),
        (r"'[^'\s]{1,80}'|\"[^\"\s]{1,80}\"", "<name>"),
        (r"(?<![A-Za-z_<])[-+]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?", "<number>"),
    )
)
_HOLES: Final = re.compile(r"<(?:\*|uuid|time|url|pci|ip|path|hex|name|number)>")


@dataclass(frozen=True, slots=True)
class Template:
    """A kind of line.

    Attributes:
        text: masked; `<*>` stands where lines differ.
        failed, passed: jobs in which it stands.
        ratio: its smoothed rate in failed jobs by that in passed ones.
        score: lower end of the ratio's logarithm; templates are ranked by it.
        example: the first line of it, and the job it comes from.
    """

    text: str
    failed: int
    passed: int
    ratio: float
    score: float
    example: str
    job: str


def masked(text: str) -> str:
    """A line with everything replaced that differs from one job to the next, cut to a bounded length."""
    for pattern, name in _MASKS:
        text = pattern.sub(name, text)
    return " ".join(text.split())[:LONGEST_TEXT]


def tail_template(lines: Sequence[str], most: int = 3) -> str | None:
    """Masked text of the last lines that say something, the last one last; None where there are none."""
    texts = [masked(line) for line in lines[-TAIL_LINES:]]
    telling = [text for text in texts if len(re.findall(r"[A-Za-z]{3,}", _HOLES.sub(" ", text))) > 1]
    return "\n".join(telling[-most:]) or None


def mine(failed: Mapping[str, Sequence[str]], passed: Mapping[str, Iterable[str]]) -> list[Template]:
    """Templates of failed jobs, the most telling first.

    Args:
        failed: job -> its lines; the last `TAIL_LINES` count.
        passed: job -> its lines; the first `PASSED_LINES` count. Where there is none, the number of failed jobs ranks.
    Raises:
        MissingLibraryError: drain3 is not installed.
    Cost: O(lines), memory bounded by `MOST_TEMPLATES`.
    """
    miner = _miner()
    in_failed: dict[int, set[str]] = {}
    examples: dict[int, tuple[str, str]] = {}
    for job, lines in failed.items():
        for line in lines[-TAIL_LINES:]:
            text = masked(line)
            if not text:
                continue
            cluster = miner.add_log_message(text)["cluster_id"]
            in_failed.setdefault(cluster, set()).add(job)
            examples.setdefault(cluster, (line.strip()[:LONGEST_TEXT], job))
    in_passed: dict[int, set[str]] = {}
    for job, passed_lines in passed.items():
        for place, line in enumerate(passed_lines):
            if place >= PASSED_LINES:
                break
            found = miner.match(masked(line))
            if found is not None:
                in_passed.setdefault(found.cluster_id, set()).add(job)
    templates = []
    for cluster in miner.drain.clusters:
        jobs = in_failed.get(cluster.cluster_id)
        if jobs:
            ratio, score = _ratio(len(jobs), len(failed), len(in_passed.get(cluster.cluster_id, ())), len(passed))
            example, job = examples[cluster.cluster_id]
            count = len(in_passed.get(cluster.cluster_id, ()))
            templates.append(Template(cluster.get_template(), len(jobs), count, ratio, score, example, job))
    return sorted(templates, key=lambda one: (-one.score, -one.failed, one.text))


def draft(template: Template, reason: str, rule_id: str) -> str:
    """A rule file with one row that a person finishes: the template's fixed words as pattern, its line as example.

    Raises:
        DataError: the template has too few fixed words for a pattern.
    """
    if sum(len(word) for word in re.findall(r"[A-Za-z]{3,}", _HOLES.sub(" ", template.text))) < 8:
        raise DataError(f"template {template.text!r} has hardly a fixed word; choose one that says more")
    row = {
        "id": rule_id,
        "reason": reason,
        "role": "root",
        "pattern": pattern_of(template.text),
        "weight": STRONG,  # somebody said what this text means; below it an exception beside it would rule it out
        "examples": [template.example],
        "counterexamples": [],
    }
    return yaml.safe_dump({"signatures": [row]}, sort_keys=False, allow_unicode=True, width=10_000)


def pattern_of(text: str) -> str:
    """An RE2 pattern that matches the lines of a template: blanks of any width, anything short in the holes."""
    parts = []
    end = 0
    for hole in _HOLES.finditer(text):
        parts.append(_fixed(text[end : hole.start()]))
        parts.append(r"\S.{0,200}?" if hole.group() in ("<*>", "<path>", "<url>", "<time>") else r"\S{1,80}?")
        end = hole.end()
    parts.append(_fixed(text[end:]))
    return "".join(parts)


def _fixed(text: str) -> str:
    return r"\s+".join(re.sub(r"([^\w\s/,:;=<>'\"%&@!#~-])", r"\\\1", word) for word in re.split(r"\s+", text))


def _ratio(failed: int, of_failed: int, passed: int, of_passed: int) -> tuple[float, float]:
    rate_failed = (failed + PRIOR) / (of_failed + 2 * PRIOR)
    rate_passed = (passed + PRIOR) / (of_passed + 2 * PRIOR)
    ratio = rate_failed / rate_passed
    return ratio, math.log(ratio) - math.sqrt(1 / (failed + PRIOR) + 1 / (passed + PRIOR))


def _miner() -> Any:
    try:
        miner = importlib.import_module("drain3")
        settings = importlib.import_module("drain3.template_miner_config")
    except ModuleNotFoundError as error:
        raise MissingLibraryError(
            "mining templates of unknown failures needs drain3, which is not installed; install tailwatch[analytics]"
        ) from error
    config = settings.TemplateMinerConfig()
    config.drain_max_clusters = MOST_TEMPLATES
    config.drain_sim_th = 0.5
    config.parametrize_numeric_tokens = True
    return miner.TemplateMiner(config=config)
