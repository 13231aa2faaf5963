"""`tailwatch ssd train`: a model of drive-days with known failures, written with its card."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tailwatch.ssd_data import DriveData


def run(args: argparse.Namespace) -> int:
    """Evaluate for the card, train, write model and card, print the card."""
    from analytics.ssd.fitting import train
    from analytics.ssd.model_file import dump_model
    from tailwatch.ssd_data import drive_data

    out = Path(args.out)
    if not out.parent.is_dir():
        raise NotADirectoryError(2, "there is no such folder to write the model to", str(out.parent))
    data = drive_data(Path(args.file))
    results, without = _results(data, args.horizons, args.seeds)
    model = train(
        data.days,
        data.features,
        data.failures,
        horizons=args.horizons,
        seed=args.seed,
        origin=args.origin or Path(args.file).name,
        synthetic=data.synthetic,
        made=datetime.now(UTC).date(),
        results=results,
        why_no_results=without,
    )
    card = out.with_name(out.name + ".md")
    _replace(out, dump_model(model))
    _replace(card, model.card.markdown().encode())
    print(model.card.markdown())
    print(f"wrote {out} ({out.stat().st_size:,} bytes, {model.digest}) and {card}")
    return 0


def _replace(path: Path, data: bytes) -> None:
    """Write a file whole: whoever ends the command midway keeps the one that was there."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _results(
    data: "DriveData", horizons: tuple[int, ...], seeds: int
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Figures of the protocol by horizon, and why there are none."""
    from analytics.errors import TooFewDataError
    from analytics.ssd.evaluation import Protocol, evaluate
    from analytics.ssd.feature_names import TAUGHT

    found: dict[str, dict[str, Any]] = {}
    without: dict[str, str] = {}
    for horizon in horizons:
        key = str(horizon)
        if not seeds:
            without[key] = "the protocol was not run (--seeds 0)"
            continue
        try:
            evaluation = evaluate(
                data.days, data.features, data.failures, horizon, TAUGHT, Protocol(seeds), synthetic=data.synthetic
            )
            found[key] = evaluation.to_dict()
        except TooFewDataError as error:
            without[key] = str(error)
            print(f"note: no figures for {horizon} days: {error}", file=sys.stderr)
    return found, without
