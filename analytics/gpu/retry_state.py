"""What a retry model has learned, as bytes and back: never pickled, strictly read, refused with what is wanted.

A sealed file (sealed.py) of MessagePack: weights that are not 0, records by reason, nodes, names of what was learned.
The digest of its contents is the state's.

Each state carries its generation, a number that only rises, and the digest of the one it came from. Going back to an
earlier one makes a new generation with what the earlier one knew, so that a line of states never forks.
"""

import hashlib
from dataclasses import replace
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from analytics.errors import ModelFileError, ModelMismatchError
from analytics.gpu.retry_features import FEATURES_VERSION, SLOTS
from analytics.gpu.retry_model import LEVELS, MOST_REASONS, MOST_REMEMBERED, RetryModel
from analytics.gpu.retry_nodes import MOST_NODES, MOST_PER_NODE, NodeFailure, NodeHistory
from analytics.gpu.retry_priors import Priors, shipped_priors
from analytics.gpu.retry_quality import BINS, Answers, Quality
from analytics.sealed import Form

MAGIC: Final = b"TWRETRY1"
VERSION: Final = 1
#: Most bytes of a state and of what is in it: all slots, nodes and names together take some 25 MB.
MOST_BYTES: Final = 64_000_000
_FORM: Final = Form(
    MAGIC,
    VERSION,
    MOST_BYTES,
    kind="state of retry advice",
    name="state",
    damaged="go back to an earlier generation",
    older="upgrade, or go back to an earlier generation",
)
_array, _want = _FORM.array, _FORM.want
#: Beyond these no sum of gradients can have come.
_MOST_WEIGHT: Final = 1e3
_MOST_COUNT: Final = 1e6


class _Failure(msgspec.Struct, forbid_unknown_fields=True, array_like=True):
    time_ns: int
    reason: str
    job: str


class _Answers(msgspec.Struct, forbid_unknown_fields=True):
    squared_error: float
    counts: list[list[int]]


class _Contents(msgspec.Struct, forbid_unknown_fields=True):
    features_version: str
    seed: int
    generation: int
    parent: str
    origin: str
    slots: bytes
    weights: bytes
    squares: bytes
    records: dict[str, list[list[float]]]
    answers: _Answers
    prior_answers: _Answers
    nodes: list[tuple[str, list[_Failure]]]
    remembered: bytes


def dump_state(model: RetryModel, parent: str = "") -> bytes:
    """The state's bytes; the same model always gives the same.

    Args:
        parent: digest of the state that the model was loaded from, "" for none.
    """
    return _FORM.seal(_contents(model, parent), level=6)


def load_state(data: bytes, priors: Priors | None = None) -> RetryModel:
    """A model from its bytes, on the priors given (the shipped ones by default).

    Raises:
        ModelFileError: the bytes are damaged, of a newer release, or no state of retry advice.
        ModelMismatchError: the state was learned from other features than this release makes.
    """
    contents = _decoded(_FORM.opened(data))
    if contents.features_version != FEATURES_VERSION:
        raise ModelMismatchError(
            f"the state was learned from features {contents.features_version[:80]!r}; this release makes "
            f"{FEATURES_VERSION!r}: learn anew from the attempts"
        )
    _want(0 <= contents.seed < 2**31, f"seed {contents.seed}; want 0 to 2147483647")
    _want(0 <= contents.generation < 2**62, f"generation {contents.generation}; want 0 or more")
    weights, squares = _weights(contents)
    return RetryModel(
        seed=contents.seed,
        generation=contents.generation,
        priors=shipped_priors() if priors is None else priors,
        weights=weights,
        squares=squares,
        records=_records(contents),
        nodes=_nodes(contents),
        remembered=_remembered(contents),
        quality=_quality(contents.answers, contents.prior_answers),
        origin=contents.origin,
    )


def state_digest(data: bytes) -> str:
    """Digest of a state's contents, `sha256:...`; proves on the way that they are whole."""
    return f"sha256:{hashlib.sha256(_FORM.opened(data)).hexdigest()}"


def parent_digest(data: bytes) -> str:
    """Digest of the state that this one came from; "" for none."""
    return _decoded(_FORM.opened(data)).parent


def rolled_back(now: RetryModel, earlier: RetryModel) -> RetryModel:
    """What `earlier` knew, as the generation after `now`. The arrays are shared; dump it, or use only one of them.

    Raises:
        ModelMismatchError: `earlier` is not earlier.
    """
    if earlier.generation >= now.generation:
        raise ModelMismatchError(
            f"generation {earlier.generation} is not before {now.generation}; want an earlier state to go back to"
        )
    origin = f"went back from generation {now.generation} to {earlier.generation}"
    return replace(earlier, generation=now.generation + 1, origin=origin)


def _contents(model: RetryModel, parent: str) -> bytes:
    slots = np.flatnonzero((model.weights != 0) | (model.squares != 0))
    nodes = [
        (node, [_Failure(failure.time_ns, failure.reason, failure.job) for failure in failures])
        for node, failures in model.nodes.items()
    ]
    own = model.quality
    return msgspec.msgpack.encode(
        _Contents(
            FEATURES_VERSION,
            model.seed,
            model.generation,
            parent,
            model.origin,
            slots.astype("<u4").tobytes(),
            model.weights[slots].astype("<f8").tobytes(),
            model.squares[slots].astype("<f8").tobytes(),
            model.records,
            _Answers(own.model.squared_error, own.model.counts),
            _Answers(own.prior.squared_error, own.prior.counts),
            nodes,
            np.array(list(model.remembered), "<u8").tobytes(),
        ),
        order="deterministic",
    )


def _decoded(contents: bytes) -> _Contents:
    try:
        return msgspec.msgpack.decode(contents, type=_Contents)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ModelFileError(f"the state cannot be read: {error}; go back to an earlier generation") from error


def _weights(contents: _Contents) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    slots = _array(contents.slots, "<u4", "slots").astype(np.int64)
    values, squares = _array(contents.weights, "<f8", "weights"), _array(contents.squares, "<f8", "squares")
    _want(slots.size == values.size == squares.size, f"{slots.size} slots, {values.size} and {squares.size} values")
    _want(bool((np.diff(slots) > 0).all()) and (not slots.size or slots[-1] < SLOTS), "slots that do not rise, or end")
    _want(bool((np.abs(values) <= _MOST_WEIGHT).all()), "a weight that is not finite, or beyond all gradients")
    _want(bool(((squares >= 0) & (squares <= _MOST_COUNT)).all()), "a sum of squares below 0 or beyond all gradients")
    found = np.zeros(SLOTS), np.zeros(SLOTS)
    found[0][slots], found[1][slots] = values, squares
    return found


def _records(contents: _Contents) -> dict[str, list[list[float]]]:
    _want(len(contents.records) <= MOST_REASONS, f"{len(contents.records)} reasons; want {MOST_REASONS} at most")
    for reason, levels in contents.records.items():
        whole = len(levels) == LEVELS and all(len(level) == 2 for level in levels)
        _want(whole, f"the record of {reason[:80]!r}; want {LEVELS} levels of two counts")
        _want(all(0 <= count <= _MOST_COUNT for level in levels for count in level), f"counts of {reason[:80]!r}")
    return contents.records


def _nodes(contents: _Contents) -> NodeHistory:
    _want(len(contents.nodes) <= MOST_NODES, f"{len(contents.nodes)} nodes; want {MOST_NODES} at most")
    failures = {}
    for node, them in contents.nodes:
        _want(node not in failures, f"the node {node[:80]!r} twice")
        _want(len(them) <= MOST_PER_NODE, f"{len(them)} failures of {node[:80]!r}; want {MOST_PER_NODE} at most")
        failures[node] = [NodeFailure(each.time_ns, each.reason, each.job) for each in them]
    return NodeHistory(failures)


def _remembered(contents: _Contents) -> dict[int, None]:
    names = _array(contents.remembered, "<u8", "names").tolist()
    _want(len(names) <= MOST_REMEMBERED, f"{len(names)} names of outcomes; want {MOST_REMEMBERED} at most")
    _want(len(set(names)) == len(names), "a name of an outcome twice")
    return dict.fromkeys(names)


def _quality(model: _Answers, prior: _Answers) -> Quality:
    found = Quality(_answers(model), _answers(prior))
    both = found.model.totals(), found.prior.totals()
    _want(both[0] == both[1], f"answers to {both[0]} and {both[1]} outcomes; want those of the same ones")
    return found


def _answers(own: _Answers) -> Answers:
    whole = len(own.counts) == BINS and all(len(pair) == 2 for pair in own.counts)
    _want(whole, f"{len(own.counts)} counts of answers; want {BINS} pairs")
    _want(all(0 <= count < 2**62 for pair in own.counts for count in pair), "a count of answers below 0")
    found = Answers(own.squared_error, own.counts)
    most = sum(found.totals())
    _want(0 <= own.squared_error <= most, f"{own.squared_error} as sum of {most} squared errors")  # NaN neither
    return found
