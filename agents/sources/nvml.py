"""Asks NVIDIA's management library, and sorts what it refuses: not supported, lost, or not there at all.

The library is found again when a driver is loaded later or anew. Nothing of it is imported before the first question.
What one GPU cannot tell is None; a GPU that fell off the bus is an exception that stays with that GPU.
"""

import importlib
import logging
from collections import Counter
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

log = logging.getLogger(__name__)

# Of NVML's return codes; those of a GPU that is gone, and those of a driver that is.
_LOST: Final = {15: "the GPU is lost: it has fallen off the bus", 16: "the GPU needs a reset"}
_DOWN: Final = frozenset({1, 9, 12, 18})
# What a GPU, a driver's version, or our rights do not allow: no news.
_NOT_TOLD: Final = frozenset({2, 3, 4, 6, 7, 13, 21, 22, 24, 25, 26, 27, 28})
_NO_VALUE: Final = frozenset({2**32 - 1, 2**64 - 1})
_REASONS: Final = {
    1: "NVML was shut down",
    4: "no permission to use the NVIDIA driver",
    9: "the NVIDIA driver is not loaded",
    12: "no NVIDIA driver: libnvidia-ml.so.1 is not found",
    18: "the driver was updated: its library and its kernel module differ until the host is restarted",
}


class NvmlDownError(Exception):
    """No GPU can be asked now; says why."""


class GpuLostError(Exception):
    """This GPU cannot be asked any more; says why."""


def import_pynvml() -> ModuleType:
    """The binding, which loads nothing of the driver yet; ImportError where the extra `gpu` is not installed."""
    return importlib.import_module("pynvml")


class Nvml:
    """One session with the library; used from one thread at a time.

    Attributes:
        errors: answers that are neither values nor known refusals, by NVML's code.
    """

    def __init__(self, load: Callable[[], Any] = import_pynvml) -> None:
        """`load` gives pynvml, or what stands in for it."""
        self.errors: Counter[int] = Counter()
        self._load = load
        self._library: Any = None
        self._up = False

    @property
    def library(self) -> Any:
        """The binding, with NVML's constants; only while `start` has succeeded."""
        return self._library

    def start(self) -> None:
        """Begin, unless it has begun.

        Raises:
            NvmlDownError: there is no binding, no driver, or no permission.
        """
        if self._up:
            return
        if self._library is None:
            try:
                self._library = self._load()
            except ImportError as error:
                raise NvmlDownError(f"nvidia-ml-py is not installed ({error}): pip install 'tailwatch[gpu]'") from error
        try:
            self._library.nvmlInit()
        except self._library.NVMLError as error:
            raise NvmlDownError(_reason(error)) from error
        self._up = True

    def stop(self) -> None:
        """End the session; `start` begins another."""
        if self._up:
            self._up = False
            try:
                self._library.nvmlShutdown()
            except self._library.NVMLError as error:
                log.debug("nvml not shut down error=%s", error)

    def ask(self, call: str, *arguments: Any) -> Any:
        """The answer, or None where there is none.

        Raises:
            GpuLostError: the GPU asked about is gone.
            NvmlDownError: the driver is.
        """
        function = getattr(self._library, call, None)
        if function is None:  # an older release of the binding
            return None
        try:
            return function(*arguments)
        except self._library.NVMLError as error:
            code = _code(error)
            if code in _LOST:
                raise GpuLostError(_LOST[code]) from error
            if code in _DOWN:
                raise NvmlDownError(_reason(error)) from error
            if code not in _NOT_TOLD:
                self.errors[code] += 1
            return None
        except (UnicodeDecodeError, ValueError):  # text that a broken GPU made up
            self.errors[-1] += 1
            return None

    def whole(self, call: str, *arguments: Any) -> int | None:
        """An answer that is a whole number from 0 on."""
        return whole(self.ask(call, *arguments))

    def text(self, call: str, *arguments: Any) -> str | None:
        """An answer that is text, short and printable."""
        answer = self.ask(call, *arguments)
        if isinstance(answer, bytes):
            answer = answer.decode("utf-8", "replace")
        if not isinstance(answer, str):
            return None
        return "".join(sign for sign in answer[:128] if sign.isprintable()).strip() or None


def whole(value: object) -> int | None:
    """A whole number from 0 on that fits a column; all ones mean that there is none."""
    if isinstance(value, bool) or not isinstance(value, int) or value in _NO_VALUE:
        return None
    return value if 0 <= value < 2**63 else None


def _code(error: Exception) -> int:
    value = getattr(error, "value", None)
    return value if isinstance(value, int) else 999


def _reason(error: Exception) -> str:
    code = _code(error)
    return _REASONS.get(code) or f"NVML refuses: {error} ({code})"
