"""`tailwatch ssd install|models|promote`: which model speaks of drives, and how another one takes its place.

The first model becomes active as it is installed. Any other runs in the shadow until the gate lets it pass, on days
that neither model has seen; who goes past the gate has to say why, and the database keeps it.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

    from analytics.ssd.model import Model
    from analytics.ssd.promotion import Verdict
    from store.drive_models import ModelRow

_SYNTHETIC = "SYNTHETIC: trained on a generated fleet; its figures say nothing about real drives"


#: The horizons that lists, series and alerts have a place for.
_SHOWN_D = (7, 30)
#: As much as a line of the table takes; --output json has all of it.
_ORIGIN_SHOWN = 48


def run(args: argparse.Namespace) -> int:
    """Do what the action says, on a database with this release's tables."""
    from tailwatch.open_database import open_database
    from tailwatch.settings_flags import loaded_from

    actions = {"install": _install, "models": _models, "promote": _promote}
    with open_database(loaded_from(args).settings.database.url, read_only=args.action == "models") as engine:
        return actions[args.action](args, engine)


def _install(args: argparse.Namespace, engine: "sa.Engine") -> int:
    from store.drive_models import install
    from tailwatch.drive_models import read_model

    data, model = read_model(args.model)
    role: Literal["active", "shadow"] = "shadow" if args.shadow else "active"
    with engine.begin() as connection:
        row, new = install(connection, data, asdict(model.card), role, time.time_ns(), digest=model.digest)
    if row.card.get("synthetic"):
        print(_SYNTHETIC)
    unfilled = [days for days in _SHOWN_D if days not in model.horizons]
    if unfilled:
        print(
            f"note: it foretells {_days(model.horizons)}; drives, series and alerts show {_days(_SHOWN_D)}, of which "
            f"{_days(unfilled)} will be empty"
        )
    said = "is installed" if new else "is there already"
    print(f"{row.digest} {said} as the {_ROLES[role]}; the scoring job takes it up within one round")
    return 0


_ROLES = {"active": "active model", "shadow": "shadow"}


def _days(horizons: "Sequence[int]") -> str:
    return " and ".join(str(days) for days in horizons) + " days"


def _models(args: argparse.Namespace, engine: "sa.Engine") -> int:
    from store.drive_models import models
    from tailwatch.terminal import table

    with engine.connect() as connection:
        known = models(connection)
    if args.output == "json":
        print(json.dumps({"models": [_as_json(row) for row in known]}, indent=2))
        return 0
    if not known:
        print("no models; train one with `tailwatch ssd train`, and install it with `tailwatch ssd install MODEL`")
        return 0
    headers = ["digest", "role", "installed", "promoted", "trained on", "drives", "failures", "horizons", "note"]
    print(table(headers, [_as_row(row) for row in known], [False] * 5 + [True] * 2 + [False] * 2))
    return 0


def _promote(args: argparse.Namespace, engine: "sa.Engine") -> int:
    from store.drive_models import in_role, promote
    from store.errors import DriveModelError

    if args.force and not args.because:
        raise DriveModelError("--force goes past the gate: say why, with --because TEXT")
    with engine.connect() as connection:
        shadow, active = in_role(connection, "shadow"), in_role(connection, "active")
    if shadow is None:
        raise DriveModelError("no model is in the shadow; install one with `tailwatch ssd install MODEL --shadow`")
    if not args.on and not args.force:
        raise DriveModelError(
            "the gate judges on days that neither model has seen: give them with --on FILE (`tailwatch ssd export "
            "FILE` writes them), or go past the gate with --force --because TEXT"
        )
    verdict = _judged(args, engine, shadow, active) if args.on else None
    if verdict is not None:
        _show(verdict)
        if not verdict.promoted and not args.force:
            print(f"not promoted: {verdict.why}", file=sys.stderr)
            return 1
    with engine.begin() as connection:
        now_active = in_role(connection, "active")
        if (now_active and now_active.digest) != (active and active.digest):
            raise DriveModelError("another model became active meanwhile; compare the shadow with that one")
        promote(connection, shadow.digest, _note(args, verdict), time.time_ns())
    if shadow.card.get("synthetic"):
        print(_SYNTHETIC)
    print(f"{shadow.digest} is the active model now" + (f"; {active.digest} is retired" if active else ""))
    return 0


def _judged(args: argparse.Namespace, engine: "sa.Engine", shadow: "ModelRow", active: "ModelRow | None") -> "Verdict":
    """What the gate says of the days in the file that come after both trainings."""
    import polars as pl

    from analytics.errors import TooFewDataError
    from analytics.ssd.promotion import judge
    from tailwatch.ssd_data import drive_data

    candidate = _loaded(engine, shadow)
    current = _loaded(engine, active) if active is not None else None
    data = drive_data(Path(args.on))
    last = max(model.card.last_day for model in (candidate, current) if model is not None)
    features = data.features.filter(pl.col("day").dt.to_string("%Y-%m-%d") > last)
    if not features.height:
        raise TooFewDataError(
            f"{args.on} has no day after {last}, the last that the models were trained on; give later days"
        )
    return judge(candidate, current, data.days, features, data.failures)


def _loaded(engine: "sa.Engine", row: "ModelRow") -> "Model":
    from analytics.errors import ModelFileError
    from analytics.ssd.model_file import load_model
    from store.drive_models import model_bytes

    with engine.connect() as connection:
        model = load_model(model_bytes(connection, row.digest))
    if model.digest != row.digest:
        raise ModelFileError(
            f"the database calls a model {row.digest} that calls itself {model.digest}; install it again"
        )
    return model


def _show(verdict: "Verdict") -> None:
    for each in verdict.criteria:
        print(f"{'met' if each.met else 'NOT met':<7} {each.horizon_d:>3} days  {each.name}: {each.text}")


def _note(args: argparse.Namespace, verdict: "Verdict | None") -> str:
    """Why it was promoted, for good."""
    if verdict is None:
        return f"forced without the gate: {args.because}"
    name = Path(args.on).name
    if verdict.promoted:
        return f"the gate's {len(verdict.criteria)} criteria are met on {name}" + (
            f": {args.because}" if args.because else ""
        )
    return f"forced past the gate: {args.because} (on {name}: {verdict.why})"


def _as_row(row: "ModelRow") -> list[str]:
    card = row.card
    synthetic = " (synthetic)" if card.get("synthetic") else ""
    origin = str(card.get("origin", "-"))
    shown = origin if len(origin) <= _ORIGIN_SHOWN else f"{origin[: _ORIGIN_SHOWN - 3]}..."
    return [
        row.digest[: len("sha256:") + 12],
        row.role,
        _time(row.installed_ns),
        _time(row.promoted_ns),
        f"{shown}{synthetic}, to {card.get('last_day', '-')}",
        str(card.get("drives", "-")),
        str(card.get("failures", "-")),
        ", ".join(str(days) for days in card.get("horizons", ())) or "-",
        row.note or "-",
    ]


def _as_json(row: "ModelRow") -> dict[str, object]:
    times = {"installed": row.installed_ns, "promoted": row.promoted_ns, "retired": row.retired_ns}
    return {
        "digest": row.digest,
        "role": row.role,
        "synthetic": bool(row.card.get("synthetic")),
        "bytes": row.size_bytes,
        "note": row.note,
        **{name: None if ns is None else _time(ns) for name, ns in times.items()},
        "card": row.card,
    }


def _time(ns: int | None) -> str:
    return "-" if ns is None else datetime.fromtimestamp(ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
