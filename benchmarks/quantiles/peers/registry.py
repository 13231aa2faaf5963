"""All methods that can run here, and by name those that cannot. An adapter whose package is missing is never silent."""

import importlib
from dataclasses import dataclass

from benchmarks.quantiles.peers.method import Method

# Adapter module -> the distribution it needs.
ADAPTERS = {
    "tailwatch": "tailwatch",
    "exact": "numpy",
    "sketch_oxide": "sketch_oxide",
    "datasketches": "datasketches",
    "fastdigest": "fastdigest",
    "rddsketch": "rddsketch",
    "ddsketch": "ddsketch",
    "hdrhistogram": "hdrhistogram",
    "otel_sdk": "opentelemetry-sdk",
    "boost_histogram": "boost-histogram",
    "duckdb": "duckdb",
    "polars": "polars",
    "chdb": "chdb",
}


@dataclass(frozen=True, slots=True)
class Field:
    """The methods that run, and the absent packages with the reason."""

    methods: list[Method]
    absent: dict[str, str]

    def of(self, *kinds: str) -> list[Method]:
        """The methods of these kinds."""
        return [method for method in self.methods if method.kind in kinds]

    def named(self, name: str) -> Method:
        """The method of that name."""
        return next(method for method in self.methods if method.name == name)

    def notes(self) -> list[str]:
        """A sentence for each absent package."""
        return [f"{package} is absent: {reason}" for package, reason in self.absent.items()]


def load_field() -> Field:
    """Imports every adapter whose package is here."""
    methods: list[Method] = []
    absent: dict[str, str] = {}
    for adapter, package in ADAPTERS.items():
        try:
            methods += importlib.import_module(f"benchmarks.quantiles.peers.{adapter}").methods()
        except ImportError as error:
            absent[package] = f"not installed ({error})"
    return Field(methods, absent)
