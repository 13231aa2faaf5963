"""`tailwatch gpu attempts`: tell the API which jobs ran, where, and how that ended.

What is sent twice changes nothing, so a timer may send the last hours again and again. Bodies stay far below
`api.max_body_bytes`, whatever a job's list of nodes has in it.
"""

import argparse
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from tailwatch.errors import AnswerError
from tailwatch.gpu_attempt_files import STANDARD_INPUT, read_attempts
from tailwatch.http_client import post

if TYPE_CHECKING:
    import polars as pl

PATH: Final = "/api/v1/gpu/attempts"
_AT_ONCE: Final = 1_000
_BYTES_AT_ONCE: Final = 1 << 20
_TIMES: Final = {"submitted": "submitted_ns", "started": "start_ns", "ended": "end_ns"}
_PLAIN: Final = ("job", "number", "user", "queue", "gpus", "outcome", "exit_code", "signal")

Row = dict[str, Any]


def run(args: argparse.Namespace) -> int:
    """Read the file whole, then send it part by part."""
    frame = read_attempts(args.file)
    chosen = frame if args.without_gpus else with_gpus(frame)
    sent = changed = 0
    for part in parts(rows_of(chosen, synthetic=args.synthetic)):
        changed += _post(args, part, sent)["changed"]
        sent += len(part)
    left_out = frame.height - chosen.height
    if args.output == "json":
        print(json.dumps({"attempts": sent, "changed": changed, "without_gpus": left_out}, indent=2))
        return 0
    print(f"{sent:,} attempts of {chosen['job'].n_unique():,} jobs sent, of which {changed:,} are new or told of anew")
    if left_out:
        print(f"{left_out:,} that held no GPU were left out; --without-gpus sends them, too")
    return 0


def with_gpus(frame: "pl.DataFrame") -> "pl.DataFrame":
    """Those that held a GPU, or of which nobody knows."""
    import polars as pl

    return frame.filter(pl.col("gpus").fill_null(1.0) > 0)


def rows_of(frame: "pl.DataFrame", *, synthetic: bool) -> Iterator[Row]:
    """The attempts as the API takes them; what is not known is left out."""
    from api.times import rfc_3339

    for row in frame.iter_rows(named=True):
        said = {name: row[name] for name in _PLAIN if row[name] is not None}
        said |= {name: rfc_3339(row[column]) for name, column in _TIMES.items() if row[column] is not None}
        if row["nodes"]:
            said["nodes"] = row["nodes"]
        yield {**said, **({"synthetic": True} if synthetic else {})}


def parts(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """As many as go into one body."""
    part: list[Row] = []
    size = 0
    for row in rows:
        bytes_ = len(json.dumps(row))
        if part and (len(part) == _AT_ONCE or size + bytes_ > _BYTES_AT_ONCE):
            yield part
            part, size = [], 0
        part.append(row)
        size += bytes_
    if part:
        yield part


def _post(args: argparse.Namespace, part: list[Row], sent: int) -> Row:
    try:
        return post(args.url, PATH, {"attempts": part})
    except AnswerError as error:
        name = "standard input" if args.file == STANDARD_INPUT else args.file
        first = f"attempt {part[0]['number']} of job {part[0]['job']}"
        where = f"counted from {first} on; of {name} the {sent:,} attempts before it are stored"
        raise AnswerError(f"{error} ({where})", error.problem) from error
