"""`tailwatch ssd evaluate`: how well failures of drives are foretold, beside the rule that every model has to beat."""

import argparse
import json
import sys
from pathlib import Path


def run(args: argparse.Namespace) -> int:
    """Run the protocol on a file, or a model over it, and print what was found."""
    from analytics.ssd.drift import drift
    from analytics.ssd.evaluation import Protocol, evaluate, evaluate_model
    from analytics.ssd.feature_names import TAUGHT
    from tailwatch.drive_models import model_of
    from tailwatch.ssd_data import drive_data
    from tailwatch.ssd_evaluation_report import as_text, drift_text

    model = model_of(args.model)
    data = drive_data(Path(args.file))
    if model is None:
        found = evaluate(
            data.days,
            data.features,
            data.failures,
            args.horizon,
            TAUGHT,
            Protocol(args.seeds, args.folds),
            synthetic=data.synthetic,
            progress=_progress,
        )
        moved = None
    else:
        found = evaluate_model(model, data.days, data.features, data.failures, args.horizon, synthetic=data.synthetic)
        moved = drift(model.profile, data.features)
    if args.as_json:
        answer = found.to_dict() | ({} if moved is None else {"drift": moved.head(20).to_dicts()})
        print(json.dumps(answer, indent=2, ensure_ascii=False))
        return 0
    print(as_text(found, args.file))
    if model is not None and moved is not None:
        print(drift_text(model, moved, found.first))
    return 0


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
