"""`tailwatch tail learn`: speed-ups by class of work out of recorded requests, and a predictor of their times."""

import argparse
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analytics.tail.predictor import TrainedPredictor
    from analytics.tail.predictor_quality import PredictorQuality
    from analytics.tail.speedup import Float64Array
    from tailwatch.request_files import RecordedFiles


def run(args: argparse.Namespace) -> int:
    """Learn, print, and write what was asked for."""
    from tailwatch.errors import RequestFileError
    from tailwatch.tail_recordings import described, files_of, heading, most_threads

    if args.model and not args.features:
        raise RequestFileError("--model is where a predictor goes; --features says what it is trained from")
    files = files_of(args, args.features)
    max_degree = most_threads(args, files, None)
    said = described(args, files, max_degree)
    document, text = dict(said), [heading(said)]
    works_ms, long_ms = _speedups(args, files, max_degree, document, text)
    if args.features:
        trained, recorded = _predictor(args, files, works_ms, long_ms)
        _say_predictor(args, trained, recorded, document, text)
    _answer(args, document, text)
    return 0


def _speedups(
    args: argparse.Namespace, files: "RecordedFiles", max_degree: int, document: dict[str, Any], text: list[str]
) -> "tuple[Float64Array, float | None]":
    """Learn and say; (the work of each request on one thread, from where on the longest class goes).

    A service that has no predictor yet has no speed-ups either; where all ran on one thread, one can be trained.
    """
    import numpy as np

    from analytics.errors import DataError, TooFewDataError
    from analytics.tail.effective import effective_ms
    from analytics.tail.learning import as_learned, learn_profile, works_ms
    from analytics.tail.profile_documents import profile_document
    from tailwatch.tail_learn_report import profile_text

    samples = files.samples
    effective = effective_ms(samples, args.threads)
    try:
        learned = learn_profile(
            samples, args.threads, max_degree=max_degree, edges_ms=args.class_edges, effective=effective
        )
    except (DataError, TooFewDataError) as error:
        if not args.features or args.out or args.plot or np.any(samples.last_degrees > 1):
            raise
        document["profile"] = None
        text.append(f"no speed-ups: {error}")
        return effective.times_ms, None
    document["profile"] = profile_document(learned)
    text.append(profile_text(learned))
    edges = learned.profile.edges_ms
    effective = as_learned(samples, args.threads, effective, learned.slowdown)
    return works_ms(samples, effective, learned.profile), edges[-1] if edges else None


def _predictor(
    args: argparse.Namespace, files: "RecordedFiles", works_ms: "Float64Array", long_ms: float | None
) -> "tuple[TrainedPredictor, PredictorQuality | None]":
    """The predictor, and how good the recorded predictions of the same requests are."""
    import numpy as np

    from analytics.tail.predictor import train_predictor
    from analytics.tail.predictor_quality import quality
    from tailwatch.errors import RequestFileError

    threshold = args.long_ms or long_ms
    if threshold is None:
        raise RequestFileError("no class of long requests is known; --long-ms says from where on one is long")
    trained = train_predictor(files.features, args.features, works_ms, long_ms=threshold, seed=args.seed)
    rows = trained.rows[np.isfinite(files.samples.predictions_ms[trained.rows])]
    predictions, works = files.samples.predictions_ms[rows], works_ms[rows]
    if not np.any(works >= threshold) or np.ptp(predictions) == 0:
        return trained, None
    return trained, quality(predictions, works, threshold, seed=args.seed)


def _say_predictor(
    args: argparse.Namespace,
    trained: "TrainedPredictor",
    recorded: "PredictorQuality | None",
    document: dict[str, Any],
    text: list[str],
) -> None:
    from analytics.tail.predictor import dump_predictor
    from tailwatch.tail_learn_report import predictor_dict, predictor_text
    from tailwatch.tail_recordings import written

    document["predictor"] = predictor_dict(trained, recorded)
    text.append("\n" + predictor_text(trained, recorded))
    if args.model:
        written(args.model, dump_predictor(trained.predictor), "predictor written into")


def _answer(args: argparse.Namespace, document: dict[str, Any], text: list[str]) -> None:
    from analytics.tail.profile_documents import profile_from
    from analytics.tail.profile_plots import plot_profile
    from tailwatch.tail_learn_report import class_names
    from tailwatch.tail_recordings import answer, image_kind, written

    answer(args, document, "\n".join(text))
    if args.out:
        written(args.out, json.dumps(document["profile"], indent=2).encode() + b"\n", "speed-ups written into")
    if args.plot:
        learned = profile_from(document["profile"])
        image = plot_profile(learned, class_names(learned.profile.edges_ms), "learned speed-ups", image_kind(args.plot))
        written(args.plot, image, "drawn into")
