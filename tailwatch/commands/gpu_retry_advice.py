"""`tailwatch gpu retry-advice`: of each failed job whether to run it again, how, and why."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tailwatch.errors import TailwatchError
from tailwatch.gpu_attempt_files import read_attempts
from tailwatch.gpu_retry_states import StateFile, go_back, held, read_state, save_state

if TYPE_CHECKING:
    from analytics.gpu.attempts import Attempt
    from analytics.gpu.retry_advice import RetryAdvice
    from analytics.gpu.retry_priors import Priors


def run(args: argparse.Namespace) -> int:
    """Learn if asked to, then print the advice."""
    from analytics.gpu.advice_document import advice_document
    from analytics.gpu.retry_advice import Limits, advise
    from analytics.gpu.retry_features import failed
    from analytics.gpu.retry_model import RetryModel
    from analytics.gpu.retry_outcomes import chains
    from analytics.gpu.retry_priors import shipped_priors
    from analytics.gpu.traces.columns import attempts_of

    _check(args)
    priors = _priors(args.priors)
    if args.roll_back is not None:
        with held(Path(args.state)):
            file = go_back(Path(args.state), args.roll_back, priors)
        print(f"{args.state}: {file.model.origin}; now generation {file.model.generation}", file=sys.stderr)
        if args.file is None:
            return 0
    jobs = chains(attempts_of(read_attempts(args.file)))
    learned = 0
    if args.learn:
        with held(Path(args.state)):
            file = read_state(Path(args.state), priors, args.seed)
            learned = _learn(file, list(jobs.values()), args.file)
    elif args.state:
        file = read_state(Path(args.state), priors, args.seed)
    else:
        file = StateFile(Path(), RetryModel(seed=args.seed, priors=priors or shipped_priors()), "")
    limits = Limits(
        attempts=args.attempts, gpu_hours=args.gpu_hours, handback_h=args.handback_hours, explore=args.explore
    )
    advice = [advise(chain, file.model, limits) for chain in jobs.values() if failed(chain[-1])]
    if args.output == "json":
        document = {**advice_document(file.model, len(jobs), advice), "learned": learned}
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        print(_text(file, learned, len(jobs), advice))
    return 0


def _check(args: argparse.Namespace) -> None:
    if args.roll_back is None and args.file is None:
        raise TailwatchError("no attempts were given; want a file of attempts, or - for standard input")
    if (args.learn or args.roll_back is not None) and not args.state:
        flag = "--learn" if args.learn else "--roll-back"
        raise TailwatchError(f"{flag} has nowhere to keep what it knows; want --state FILE beside it")


def _priors(file: str | None) -> "Priors | None":
    from analytics.gpu.retry_priors import with_site_priors

    return None if file is None else with_site_priors(Path(file).read_text(encoding="utf-8"), file)


def _learn(file: StateFile, jobs: "Sequence[Sequence[Attempt]]", name: str) -> int:
    """Learn, and save where anything was new; how many outcomes were."""
    from analytics.gpu.retry_learning import learn_from
    from analytics.gpu.retry_state import dump_state

    before = dump_state(file.model)
    learned = learn_from(file.model, jobs)
    if dump_state(file.model) != before or not file.digest:
        save_state(file, f"{learned} outcomes of {'standard input' if name == '-' else Path(name).name}")
    return learned


def _text(file: StateFile, learned: int, jobs: int, advice: "Sequence[RetryAdvice]") -> str:
    from tailwatch.terminal import table

    own = file.model.quality
    lines = [f"{jobs:,} jobs, {len(advice):,} of which failed last"]
    if own.outcomes:
        lines.append(
            f"generation {file.model.generation} ({file.model.origin}): {own.outcomes:,} outcomes, {learned:,} of them "
            f"new; squared error {own.model.brier():.3f}, of the priors alone {own.prior.brier():.3f}"
        )
    else:
        lines.append("nothing learned yet: the priors of each reason")
    if not advice:
        return "\n".join(lines)
    headers = ("job", "attempt", "reason", "do", "gets past", "wanted", "why")
    cells = [
        [
            each.job,
            str(each.number),
            each.reason or "unknown",
            _do(each),
            f"{each.probability:.2f}",
            f"{each.wanted:.2f}",
            "; ".join(each.why[1:]) or "likely enough",
        ]
        for each in advice
    ]
    return "\n".join([*lines, "", table(headers, cells, (False, True, False, False, True, True, False))])


def _do(advice: "RetryAdvice") -> str:
    """The decision as one would tell it to a person."""
    avoid = f", not on {' '.join(advice.avoid[:3])}{' ...' if len(advice.avoid) > 3 else ''}" if advice.avoid else ""
    match advice.decision:
        case "never":
            return "hand back"
        case "more_mem":
            return f"retry with {advice.memory_factor}x memory{avoid}"
        case "backoff":
            return f"retry in {advice.wait_s:.0f} s{avoid}"
        case "other_node":
            return f"retry on another node{avoid}"
        case "same":
            return f"retry{avoid}"
