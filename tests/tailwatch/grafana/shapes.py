"""JSON schemas of what Grafana reads, written from its documentation, and a check that names every fault."""

from pathlib import Path
from typing import Any

import jsonschema_rs
import yaml

_FOLDER = Path(__file__).with_name("schemas")


def faults(name: str, document: Any) -> list[str]:
    """Where and why the document is not what the schema of that name says."""
    schema = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    validator = jsonschema_rs.validator_for(schema)
    return [
        f"{'/'.join(str(step) for step in error.instance_path)}: {error.message[:300]}"
        for error in validator.iter_errors(document)
    ]
