"""How sure an answer is: a calibrated probability from what speaks for the root and against it.

A logistic curve over a few features of a choice (roots.py). Its parameters, and the probability from which on an answer
is given, lie in confidence.yaml; they were fitted on labelled logs by confidence_fit.py.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import msgspec
import yaml

from analytics.gpu.roots import STRONG, Choice
from analytics.gpu.tracebacks import is_exception

#: In the order in which they are shown; each is 0 to about 1, so that coefficients can be compared.
FEATURES = (
    "fact",
    "software",
    "exception",
    "following",
    "weight",
    "agreeing",
    "rivals",
    "close_rival",
    "rival_exception",
)


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What confidence.yaml holds.

    Attributes:
        intercept, coefficients: of the logistic curve, one coefficient for each of `FEATURES`.
        threshold: an answer is given from this probability on.
        fitted_on: what the figures come from, in words.
        logs: how many labelled logs that was.
    """

    intercept: float
    coefficients: dict[str, float]
    threshold: float
    fitted_on: str
    logs: int


@dataclass(frozen=True, slots=True)
class Confidence:
    """A probability, and whether it is enough for an answer."""

    probability: float
    enough: bool


@cache
def shipped() -> Parameters:
    """The parameters of this release."""
    text = files("analytics.gpu").joinpath("confidence.yaml").read_text("utf-8")
    return checked(msgspec.convert(yaml.safe_load(text), Parameters))


def checked(parameters: Parameters) -> Parameters:
    """The same, if each feature has its coefficient and the threshold is a probability."""
    if set(parameters.coefficients) != set(FEATURES):
        raise ValueError(
            f"coefficients of {sorted(parameters.coefficients)}, wanted {sorted(FEATURES)}: fit them again"
        )
    if not 0.0 <= parameters.threshold <= 1.0:
        raise ValueError(f"threshold is {parameters.threshold}, wanted one within 0 and 1")
    return parameters


def confidence(choice: Choice, parameters: Parameters | None = None) -> Confidence:
    """Of a choice; 0 where there is no root."""
    if choice.root is None:
        return Confidence(0.0, False)
    used = shipped() if parameters is None else parameters
    probability = curve(features(choice), used)
    return Confidence(probability, probability >= used.threshold)


def curve(values: Mapping[str, float], parameters: Parameters) -> float:
    """The logistic curve at some features."""
    z = parameters.intercept + sum(parameters.coefficients[name] * values[name] for name in FEATURES)
    return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, z))))


def features(choice: Choice) -> dict[str, float]:
    """What speaks for and against a choice's root, by name; all 0 where there is none."""
    root = choice.root
    if root is None:
        return dict.fromkeys(FEATURES, 0.0)
    weight = root.match.signature.weight
    ahead = [rival for rival in choice.rivals if rival.tier <= 4]
    close = any(rival.tier == root.tier and rival.match.signature.weight >= min(weight, STRONG) for rival in ahead)
    line = root.match.line
    agreeing = {
        match.signature.id
        for match in choice.confirming
        if (match.line.file, match.line.number) != (line.file, line.number)
    } - {root.match.signature.id}
    return {
        "fact": float(root.tier <= 2),
        "software": float(root.tier == 3),
        "exception": float(root.tier == 4),
        "following": float(root.tier == 5),
        "weight": weight / 100.0,
        "agreeing": min(len(agreeing), 3) / 3.0,
        "rivals": min(len(choice.rivals), 4) / 4.0,
        "close_rival": float(close),
        "rival_exception": float(any(is_exception(rival.match) for rival in ahead) and not is_exception(root.match)),
    }
