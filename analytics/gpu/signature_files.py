"""Signatures from YAML files: those shipped under signatures/, and a site's own on top. Read strictly, once.

A file holds one list, `signatures`. A row says at least `id`, `reason`, `role`, `pattern` and `examples`; category,
retry and action come from the taxonomy where it does not say them. A site's row with the id of a shipped one replaces
it. All faults of a file are told at once, each with the file, the line, the row's id and the field.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from analytics.errors import SignatureFileError
from analytics.gpu.documents import documents
from analytics.gpu.signature_patterns import fault_of
from analytics.gpu.signatures import Signature
from analytics.gpu.taxonomy import taxonomy

FOLDER: Final = "signatures"
#: A larger file is refused, and not read further: rules for people to read are never that long.
LARGEST_BYTES: Final = 4 << 20
DEEPEST: Final = 8
MOST_SIGNATURES: Final = 5_000
_ROW_FIELDS: Final = tuple(field.name for field in msgspec.structs.fields(Signature))
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def shipped_signatures() -> tuple[Signature, ...]:
    """What this release knows, by file name and in each file's order."""
    found: list[Signature] = []
    folder = files("analytics.gpu").joinpath(FOLDER)
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        if entry.name.endswith(".yaml"):
            found += signatures_of(entry.read_text(encoding="utf-8"), entry.name)
    _refuse_repeated(found, FOLDER)
    return tuple(found)


def with_site_file(path: Path | str | None) -> tuple[Signature, ...]:
    """The shipped signatures and those of a site's file, which replaces shipped ones of the same id.

    Raises:
        SignatureFileError: the file cannot be read or used.
    """
    if path is None:
        return shipped_signatures()
    own = {signature.id: signature for signature in read_signatures(Path(path))}
    kept = [own.pop(shipped.id, shipped) for shipped in shipped_signatures()]
    return (*kept, *own.values())


def read_signatures(path: Path) -> tuple[Signature, ...]:
    """The signatures of one file.

    Raises:
        SignatureFileError: the file cannot be read or used.
    """
    try:
        with path.open("rb") as opened:
            content = opened.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise SignatureFileError([f"{path}: {error.strerror}; wanted a YAML file of signatures"]) from error
    if len(content) > LARGEST_BYTES:
        raise SignatureFileError([f"{path} has over {LARGEST_BYTES} bytes; wanted that many at most: split the file"])
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SignatureFileError([f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8"]) from error
    return signatures_of(text, str(path))


def signatures_of(text: str, name: str) -> tuple[Signature, ...]:
    """The signatures of a file's text; `name` stands before every fault.

    Raises:
        SignatureFileError: with one line for each fault.
    """
    rows = _rows(text, name)
    problems: list[str] = []
    found: list[Signature] = []
    lines: dict[str, int] = {}
    for line, row in rows:
        where = f"{name}:{line}"
        if isinstance(row, dict) and row.get("id"):
            where += f" ({row['id']})"
        faults, signature = _signature(row)
        if signature is not None:
            if signature.id in lines:
                faults.append(f"id: {signature.id!r} stands in line {lines[signature.id]}, too; wanted one row an id")
            lines.setdefault(signature.id, line)
            found.append(signature)
        problems += [f"{where}: {fault}" for fault in faults]
    if problems:
        raise SignatureFileError(problems)
    return tuple(found)


def _rows(text: str, name: str) -> list[tuple[int, Any]]:
    """(line from 1, row) of each entry below `signatures`."""
    try:
        _refuse_nested(text, name)
        root = yaml.compose(text, Loader=_Loader)
        document = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        told = " ".join(str(error).split())[:300]
        raise SignatureFileError([f"{name} is no YAML: {told}"]) from error
    listed = document.get("signatures") if isinstance(document, dict) and len(document) == 1 else None
    if not isinstance(listed, list) or not isinstance(root, yaml.MappingNode):
        seen = sorted(map(str, document)) if isinstance(document, dict) else type(document).__name__
        raise SignatureFileError([f"{name} holds {seen}; wanted one list `signatures:` and nothing beside it"])
    if len(listed) > MOST_SIGNATURES:
        raise SignatureFileError([f"{name} has {len(listed)} rows; wanted {MOST_SIGNATURES} at most: split the file"])
    nodes = root.value[0][1].value
    problems = [
        f"{name}:{key.start_mark.line + 1}: {key.value}: stands twice in one row; wanted once"
        for node in nodes
        if isinstance(node, yaml.MappingNode)
        for place, (key, _) in enumerate(node.value)
        if key.value in [earlier.value for earlier, _ in node.value[:place]]
    ]
    if problems:
        raise SignatureFileError(problems)
    return [(node.start_mark.line + 1, row) for node, row in zip(nodes, listed, strict=True)]


def _refuse_nested(text: str, name: str) -> None:
    """Aliases, which make large things of small files, and depth, which the readers of YAML pay with their stack."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            line = event.start_mark.line + 1 if event.start_mark is not None else 1
            raise SignatureFileError([f"{name}:{line}: *{event.anchor}: an alias; write the row out"])
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise SignatureFileError([f"{name} nests deeper than {DEEPEST}; wanted a list of rows of fields"])


def _signature(row: Any) -> tuple[list[str], Signature | None]:
    """(what is wrong with a row, the signature where it could be read)."""
    if not isinstance(row, dict):
        return [f"a row is {type(row).__name__}; wanted fields such as id, reason, role, pattern, examples"], None
    unknown = [str(key) for key in row if key not in _ROW_FIELDS]
    if unknown:
        return [f"{field}: no such field; known are {', '.join(_ROW_FIELDS)}" for field in unknown], None
    reason = taxonomy().get(str(row.get("reason")))
    if reason is None:
        return [f"reason: {row.get('reason')!r} is not in the taxonomy; known are {', '.join(taxonomy())}"], None
    filled: Mapping[str, Any] = {"category": reason.category, "retry": reason.retry, "action": reason.action, **row}
    try:
        signature = msgspec.convert(filled, Signature)
    except msgspec.ValidationError as error:
        return [_in_words(error)], None
    return _faults(signature), signature


def _in_words(error: msgspec.ValidationError) -> str:
    told, _, place = str(error).partition(" - at ")
    field = place.strip("`").removeprefix("$.")
    return f"{field}: {told}" if field else told


def _faults(signature: Signature) -> list[str]:
    faults = []
    if not 1 <= signature.weight <= 100:
        faults.append(f"weight: {signature.weight}; wanted 1 to 100")
    if not signature.id or signature.id != signature.id.strip() or len(signature.id) > 80:
        faults.append(f"id: {signature.id!r}; wanted 1 to 80 characters without spaces around")
    unknown = [name for name in signature.documents if name not in documents()]
    if unknown:
        faults.append(f"documents: {unknown[0]!r} is not in documents.yaml; known are {', '.join(documents())}")
    if not signature.examples:
        faults.append("examples: none; wanted one or more texts that the pattern matches")
    for field, pattern in (("pattern", signature.pattern), ("not_pattern", signature.not_pattern)):
        fault = fault_of(pattern, searched_for=field == "pattern") if pattern or field == "pattern" else None
        if fault is not None:
            faults.append(f"{field}: {fault}")
    return faults


def _refuse_repeated(signatures: Sequence[Signature], name: str) -> None:
    seen: set[str] = set()
    repeated = [one.id for one in signatures if one.id in seen or seen.add(one.id)]  # type: ignore[func-returns-value]
    if repeated:
        raise SignatureFileError([f"{name}: id {one!r} stands in two files; wanted one row an id" for one in repeated])
