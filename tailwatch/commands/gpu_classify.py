"""`tailwatch gpu classify`: why a job died, or how often labelled logs are told right."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tailwatch.errors import LogFileError

if TYPE_CHECKING:
    from analytics.gpu.accuracy import Judged
    from analytics.gpu.diagnosis import Diagnosis
    from analytics.gpu.scanning import Scanner


def run(args: argparse.Namespace) -> int:
    """Diagnose the job whose logs are named, or each labelled log by itself, and print what was found."""
    from analytics.gpu.scanning import Scanner
    from analytics.gpu.signature_files import with_site_file
    from tailwatch.gpu_log_files import log_files

    scanner = Scanner(with_site_file(args.rules))
    files = log_files(args.files)
    if args.labels:
        _print_accuracy(_judged(args.labels, files, scanner), args.output)
        return 0
    found = _diagnosed(files, scanner)
    if args.output == "json":
        print(json.dumps(asdict(found), indent=2, ensure_ascii=False))
    else:
        from tailwatch.gpu_diagnosis_text import as_text

        print(as_text(found))
    return 0


def _diagnosed(files: Sequence[str], scanner: "Scanner") -> "Diagnosis":
    from analytics.gpu.classifier import diagnose_logs
    from tailwatch.gpu_log_files import chunks_of, origin_of

    return diagnose_logs(((origin_of(name), chunks_of(name)) for name in files), scanner)


def _judged(table: str, files: Sequence[str], scanner: "Scanner") -> "list[Judged]":
    from analytics.gpu.accuracy_held_out import Labelled, judge
    from analytics.gpu.accuracy_labels import read_labels
    from tailwatch.gpu_log_files import chunks_of, origin_of

    path = Path(table)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LogFileError(f"{table} cannot be read: {error}") from error
    labels = {(path.parent / label.file).resolve(): label for label in read_labels(text, table)}
    judged = []
    for name in files:
        label = labels.get(Path(name).resolve())
        if label is None:
            if Path(name).resolve() == path.resolve():
                continue
            raise LogFileError(f"{table} has no row for {name}; its column `file` is relative to the table's folder")
        judged.append(judge(Labelled(scanner.scan(chunks_of(name), origin_of(name)), label)))
    return judged


def _print_accuracy(judged: "Sequence[Judged]", output: str) -> None:
    from analytics.gpu.accuracy import accuracy, risk_by_coverage

    figures = accuracy(judged)
    if output == "json":
        logs = [asdict(one) for one in judged]
        curve = [asdict(point) for point in risk_by_coverage(judged)]
        print(
            json.dumps(
                {"figures": asdict(figures), "risk_by_coverage": curve, "logs": logs}, indent=2, ensure_ascii=False
            )
        )
    else:
        from tailwatch.gpu_diagnosis_text import accuracy_text

        print(accuracy_text(figures, risk_by_coverage(judged)))
