"""NVML recorded and played back: a trace is the questions that were asked and their answers, as JSON.

    {"format": "nvml-trace/1", "origin": "...", "calls": [
        {"call": "nvmlDeviceGetTemperature", "arguments": ["@gpu0", 0], "answers": [61, 62, {"error": 15}]}]}

A question asked again gets the next answer, the last one for ever. "@gpu0" is a handle, {"error": 3} one of NVML's
return codes, {"fields": {...}} a structure. What was never asked is not supported.
"""

import ctypes
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml

FORMAT = "nvml-trace/1"
NOT_SUPPORTED = 3


class PlayedNvml:
    """Stands in for the module pynvml: its functions answer from a trace, its constants and errors are the real ones.

    Attributes:
        asked: how often each function was called.
    """

    def __init__(self, trace: dict[str, Any]) -> None:
        assert trace["format"] == FORMAT
        self.asked: dict[str, int] = {}
        self._answers = {_key(one["call"], one["arguments"]): list(one["answers"]) for one in trace["calls"]}

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("nvmlInit", "nvmlShutdown", "nvmlDevice", "nvmlSystem")):
            getattr(pynvml, name)  # a function that the binding does not have cannot be asked either
            return lambda *arguments: self._answer(name, arguments)
        return getattr(pynvml, name)

    def set(self, call: str, arguments: list[Any], *answers: Any) -> None:
        """From now on this is answered."""
        self._answers[_key(call, arguments)] = list(answers)

    def _answer(self, call: str, arguments: tuple[Any, ...]) -> Any:
        self.asked[call] = self.asked.get(call, 0) + 1
        answers = self._answers.get(_key(call, list(arguments)))
        if answers is None:
            if call in ("nvmlInit", "nvmlShutdown"):
                return None
            raise pynvml.NVMLError(NOT_SUPPORTED)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, dict) and "error" in answer:
            raise pynvml.NVMLError(answer["error"])
        return _value(answer)


class RecordedNvml:
    """Stands in for pynvml as well: asks the real one and keeps a trace."""

    def __init__(self, origin: str, library: Any = pynvml) -> None:
        self._library = library
        self._origin = origin
        self._handles: dict[int, str] = {}
        self._kept: list[Any] = []  # handles must live on, or their numbers come back
        self._calls: dict[str, dict[str, Any]] = {}

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._library, name)
        if not name.startswith(("nvmlInit", "nvmlShutdown", "nvmlDevice", "nvmlSystem")):
            return real

        def ask(*arguments: Any) -> Any:
            named = [self._named(one) for one in arguments]
            entry = {"call": name, "arguments": named, "answers": []}
            answers = self._calls.setdefault(_key(name, named), entry)["answers"]
            try:
                answer = real(*arguments)
            except self._library.NVMLError as error:
                answers.append({"error": error.value})
                raise
            if name.startswith("nvmlDeviceGetHandle"):
                self._handles[id(answer)] = f"@gpu{arguments[0]}"
                self._kept.append(answer)
            answers.append(self._named(answer))
            return answer

        return ask

    def trace(self) -> dict[str, Any]:
        """All that was asked so far."""
        return {"format": FORMAT, "origin": self._origin, "calls": list(self._calls.values())}

    def _named(self, value: Any) -> Any:
        if id(value) in self._handles:
            return self._handles[id(value)]
        if isinstance(value, ctypes.Structure | ctypes.Union):
            return {"fields": {name: self._named(getattr(value, name)) for name, *_ in value._fields_}}
        if isinstance(value, list | tuple | ctypes.Array):
            return [self._named(one) for one in value]
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        if value is None or isinstance(value, bool | int | float | str):
            return value
        return {"fields": {name: self._named(one) for name, one in vars(value).items()}}


def trace_of(path: Path) -> dict[str, Any]:
    """A trace that was stored."""
    trace: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return trace


def _key(call: str, arguments: list[Any]) -> str:
    return f"{call}{json.dumps(arguments, default=str)}"


def _value(answer: Any) -> Any:
    if isinstance(answer, dict) and "fields" in answer:
        return SimpleNamespace(**{name: _value(one) for name, one in answer["fields"].items()})
    return [_value(one) for one in answer] if isinstance(answer, list) else answer
