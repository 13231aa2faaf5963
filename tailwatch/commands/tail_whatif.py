"""`tailwatch tail whatif`: recorded requests under another policy, or why that cannot be said (exit code 1)."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analytics.tail.learning import LearnedProfile
    from analytics.tail.policies import Policy, Server
    from analytics.tail.what_if import Forecast
    from tailwatch.request_files import RecordedFiles


def run(args: argparse.Namespace) -> int:
    """Read the policies first: a mistake there should not cost the reading of the files."""
    from analytics.tail.forecast_documents import forecast_document
    from analytics.tail.forecast_plots import plot_forecast
    from analytics.tail.policies import Server
    from tailwatch.tail_recordings import (
        answer,
        described,
        files_of,
        heading,
        image_kind,
        most_threads,
        profile_of,
        written,
    )
    from tailwatch.tail_whatif_report import forecast_text

    current = None if args.current is None else policy_given(args.current)
    candidate = None if args.search else policy_given(args.candidate)
    _check(args)
    given = profile_of(args)
    files = files_of(args)
    max_degree = most_threads(args, files, given)
    server = Server(args.threads, args.workers or args.threads, max_degree)
    candidate, forecast, searched_degree = _answered(args, files, server, given, current, candidate)
    _progress(1.0, "")
    said = described(args, files, max_degree)
    found = forecast_document(forecast, current)
    document = {
        **said,
        "candidate_policy": _document(candidate),
        "candidate_max_degree": searched_degree,
        "forecast": found,
    }
    text = f"{heading(said)}\n{forecast_text(found, candidate, args.fan_out)}"
    if args.search and searched_degree < max_degree:
        text += f"\nfound for at most {searched_degree} threads a request: more are not told by what was recorded"
    answer(args, document, text)
    if args.out and candidate is not None:
        written(args.out, json.dumps(_document(candidate), indent=2).encode() + b"\n", "policy written into")
    if args.plot and forecast.answered:
        written(args.plot, plot_forecast(forecast, image_kind(args.plot)), "drawn into")
    return 0 if forecast.answered else 1


def _check(args: argparse.Namespace) -> None:
    from tailwatch.errors import RequestFileError

    other = args.candidate_threads or args.candidate_workers or args.candidate_max_degree
    if args.search and (args.load_multiplier != 1 or other):
        raise RequestFileError(
            "--search looks for a table at the recorded load, on the servers that there are; ask for others with "
            "--candidate and what --out wrote"
        )
    if args.out and not args.search:
        raise RequestFileError("--out is where --search writes what it found; the candidate is known already")


def policy_given(text: str) -> "Policy":
    """A policy in words, or of a file.

    Raises:
        DataError: it is none.
    """
    from analytics.errors import DataError
    from analytics.tail.policy_documents import policy_from, policy_of_text
    from tailwatch.errors import RequestFileError
    from tailwatch.tail_recordings import json_object

    if not text.endswith(".json"):
        return policy_of_text(text)
    try:
        return policy_from(json_object(Path(text), "a policy, as --search --out writes it"))
    except DataError as error:
        raise RequestFileError(f"{text}: {error}") from error


def _answered(
    args: argparse.Namespace,
    files: "RecordedFiles",
    server: "Server",
    learned: "LearnedProfile | None",
    current: "Policy | None",
    candidate: "Policy | None",
) -> "tuple[Policy | None, Forecast, int]":
    """The candidate, which a search may have found, what it would do, and with how many threads a request at most.

    Nothing learnt is a refusal like others.
    """
    from analytics.errors import DataError, TooFewDataError
    from analytics.tail.forecast_gates import failed
    from analytics.tail.learning import learn_profile
    from analytics.tail.policies import Server, Tpc
    from analytics.tail.recorded_search import search_recorded
    from analytics.tail.what_if import Forecast, Question, what_if

    if learned is None:
        try:
            learned = learn_profile(
                files.samples, args.threads, max_degree=server.max_degree, edges_ms=args.class_edges
            )
        except (DataError, TooFewDataError) as error:
            return candidate, Forecast(False, (str(error),), (failed("learning", str(error)),)), server.max_degree
    if candidate is None:
        found = search_recorded(
            files.samples,
            server,
            learned,
            current=current,
            metric=args.metric,
            fan_out=args.fan_out,
            progress=_progress,
        )
        return None if found.found is None else Tpc(found.found.table), found.forecast, found.max_degree
    to = Server(
        args.candidate_threads or server.threads,
        args.candidate_workers or server.workers,
        args.candidate_max_degree or server.max_degree,
    )
    question = Question(
        current, candidate, server, args.load_multiplier, args.fan_out, candidate_server=None if to == server else to
    )
    return candidate, what_if(files.samples, question, learned, progress=_progress), to.max_degree


def _document(policy: "Policy | None") -> dict[str, Any] | None:
    from analytics.tail.policy_documents import policy_document

    return None if policy is None else policy_document(policy)


def _progress(share: float, text: str) -> None:
    if sys.stderr.isatty():
        shown = f"{share:4.0%} {text}" if text else ""
        print(f"\r\033[K{shown}", end="", file=sys.stderr, flush=True)
