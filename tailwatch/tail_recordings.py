"""What the commands about recorded requests begin with: the requests, their effective times, and their speed-ups."""

import argparse
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from analytics.errors import DataError
from analytics.plotting import needs_library
from analytics.tail.effective import EffectiveTimes, effective_ms
from analytics.tail.learning import LearnedProfile, as_learned, learn_profile
from analytics.tail.profile_documents import profile_from
from tailwatch.errors import ExportError, RequestFileError
from tailwatch.request_files import RecordedFiles, read_requests

_IMAGES: Final = (".png", ".svg")


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """Requests of files, and what follows from them.

    Attributes:
        max_degree: the most threads that a request may have.
        learned: speed-ups; from the same requests unless a file of them was named.
    """

    files: RecordedFiles
    effective: EffectiveTimes
    max_degree: int
    learned: LearnedProfile


def recording_of(args: argparse.Namespace, features: tuple[str, ...] = ()) -> Recording:
    """Read and learn as flags say.

    Raises:
        RequestFileError, ExportError: as `files_of` and `profile_of`.
        AnalyticsError: nothing can be learnt from these requests; the message says why and what to do.
    """
    learned = profile_of(args)
    files = files_of(args, features)
    effective = effective_ms(files.samples, args.threads, 0.0 if learned is None else learned.slowdown.value)
    max_degree = most_threads(args, files, learned)
    if learned is None:
        learned = learn_profile(
            files.samples, args.threads, max_degree=max_degree, edges_ms=args.class_edges, effective=effective
        )
        effective = as_learned(files.samples, args.threads, effective, learned.slowdown)
    return Recording(files, effective, max_degree, learned)


def files_of(args: argparse.Namespace, features: tuple[str, ...] = ()) -> RecordedFiles:
    """The requests; where nothing could be written afterwards, that is said before they are read.

    Raises:
        RequestFileError: files cannot be used. ExportError: what shall be written cannot be.
        MissingLibraryError: nothing can be drawn here.
    """
    if args.plot:
        needs_library()
        if args.plot.suffix not in _IMAGES:
            raise ExportError(f"{args.plot} cannot be drawn; want a file ending in .png or .svg")
    for path in (args.plot, getattr(args, "out", None), getattr(args, "model", None)):
        if path is not None and not path.absolute().parent.is_dir():
            raise ExportError(f"{path} cannot be written; want a file in a folder that is there")
    return read_requests(args.files, most=args.most, service=args.service, instance=args.instance, features=features)


def profile_of(args: argparse.Namespace) -> LearnedProfile | None:
    """The speed-ups that --profile names, where it does.

    Raises:
        RequestFileError: the file is none of `tailwatch tail learn --out`.
    """
    path = getattr(args, "profile", None)
    if path is None:
        return None
    if args.class_edges is not None:
        raise RequestFileError(f"{path} has classes of its own; leave --class-edges out, or --profile")
    try:
        return profile_from(json_object(path, "what `tailwatch tail learn --out` writes"))
    except DataError as error:
        raise RequestFileError(f"{path}: {error}") from error


def json_object(path: Path, wanted: str) -> dict[str, Any]:
    """The object of a JSON file.

    Raises:
        RequestFileError: it holds none.
    """
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise RequestFileError(f"{path} is no JSON: {error}; want {wanted}") from error
    if not isinstance(document, dict):
        raise RequestFileError(f"{path} holds no JSON object; want {wanted}")
    return document


def most_threads(args: argparse.Namespace, files: RecordedFiles, learned: LearnedProfile | None) -> int:
    """The most threads of a request: as said, as the speed-ups of a file know, or as recorded."""
    if args.max_degree:
        return int(args.max_degree)
    return int(files.samples.last_degrees.max()) if learned is None else learned.profile.max_degree


def described(args: argparse.Namespace, files: RecordedFiles, max_degree: int) -> dict[str, Any]:
    """What every answer says of its requests."""
    samples = files.samples
    span_ms = float(samples.arrivals_ms[-1] - samples.arrivals_ms[0])
    return {
        "files": [str(path) for path in args.files],
        "service": files.service or None,
        "instances": list(files.instances),
        "requests": len(samples),
        "stand_for": float(samples.weights.sum()),
        "span_s": span_ms / 1e3,
        "threads": args.threads,
        "max_degree": max_degree,
        "notes": files.notes(),
    }


def heading(said: dict[str, Any]) -> str:
    """The same in words."""
    who = f"{said['service']}: " if said["service"] else ""
    instances = len(said["instances"])
    of = f" of {instances} instances" if instances > 1 else ""
    lines = [f"{who}{said['requests']:,} requests{of} in {span(said['span_s'])}, {said['threads']} hardware threads"]
    if said["stand_for"] > said["requests"]:
        lines[0] += f"; they stand for {said['stand_for']:,.0f}"
    return "\n".join([*lines, *(f"note: {note}" for note in said["notes"])])


def span(seconds: float) -> str:
    """A length of time to read."""
    for unit, many in (("h", 3_600.0), ("min", 60.0)):
        if seconds >= 2 * many:
            return f"{seconds / many:.1f} {unit}"
    return f"{seconds:.1f} s"


def answer(args: argparse.Namespace, document: dict[str, Any], text: str) -> None:
    """Print it as asked."""
    as_json = args.output == "json"
    print(json.dumps(without_nan(document), indent=2, ensure_ascii=False) if as_json else text, flush=True)


def without_nan(value: Any) -> Any:
    """The same with null for numbers that are none, which JSON does not know."""
    if isinstance(value, dict):
        return {key: without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def image_kind(path: Path) -> Any:
    """What `plot` functions call it."""
    return path.suffix.removeprefix(".")


def written(path: Path, data: bytes, what: str) -> None:
    """Write a file whole, and say so where it is in no answer's way."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    print(f"{what} {path}", file=sys.stderr)
