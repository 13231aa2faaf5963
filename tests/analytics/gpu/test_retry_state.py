"""What was learned, as bytes: the same again, or refused."""

import hashlib
import struct

import msgspec
import numpy as np
import pytest
import zstandard

from analytics.errors import ModelFileError, ModelMismatchError
from analytics.gpu.retry_features import situation
from analytics.gpu.retry_model import RetryModel
from analytics.gpu.retry_state import dump_state, load_state, parent_digest, rolled_back, state_digest
from tests.analytics.gpu.attempt_rows import attempt, failing


def taught(count: int = 40) -> RetryModel:
    model = RetryModel(seed=3, generation=7, origin="tests")
    for number in range(count):
        chain = [attempt(reason="cpu_oom", job=f"j{number}", nodes=(f"n{number % 3}",), template="lost 3 ranks")]
        model.nodes.add(chain[0])
        model.learn(situation(chain), number % 3 == 0, f"j{number}\n1")
    return model


def sealed(contents: object) -> bytes:
    data = msgspec.msgpack.encode(contents)
    header = struct.pack("<8sHH32s", b"TWRETRY1", 1, 0, hashlib.sha256(data).digest())
    return header + zstandard.ZstdCompressor(write_content_size=True).compress(data)


def opened(data: bytes) -> dict[str, object]:
    contents: dict[str, object] = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(data[44:]))
    return contents


def test_a_model_comes_back_as_it_was_and_learns_on_as_it_would_have() -> None:
    model = taught()
    back = load_state(dump_state(model))
    assert dump_state(back) == dump_state(model)
    assert (back.seed, back.generation, back.origin) == (3, 7, "tests")
    seen = situation(failing(2, "cpu_oom"))
    for each in (model, back):
        assert not each.learn(situation(failing(1)), passed=True, name="j0\n1")
        each.learn(seen, passed=True)
    assert back.estimate(seen) == model.estimate(seen)
    assert dump_state(back) == dump_state(model)


def test_an_empty_model_has_a_state() -> None:
    data = dump_state(RetryModel())
    assert load_state(data).quality.outcomes == 0
    assert len(data) < 400


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_one_changed_byte_is_found(part: float) -> None:
    data = bytearray(dump_state(taught()))
    data[int(part * len(data))] ^= 0x10
    with pytest.raises(ModelFileError):
        load_state(bytes(data))


@pytest.mark.parametrize("length", [0, 7, 43, 44, 200])
def test_a_cut_state_is_refused(length: int) -> None:
    with pytest.raises(ModelFileError):
        load_state(dump_state(taught())[:length])


def test_another_version_and_other_files_are_refused_by_name() -> None:
    data = dump_state(taught())
    with pytest.raises(ModelFileError, match="a state of version 2; this release reads version 1"):
        load_state(data[:8] + b"\x02\x00" + data[10:])
    with pytest.raises(ModelFileError, match="no state of retry advice: it begins with b'TWDRIVES'"):
        load_state(b"TWDRIVES" + data[8:])


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("slots", b"\x05\0\0\0" * 2, "values"),
        ("weights", b"\0" * 7, "want a multiple of 8"),
        ("records", {"cpu_oom": [[1.0, 2.0]]}, "want 3 levels"),
        ("records", {"cpu_oom": [[1.0, -2.0]] * 3}, "counts of 'cpu_oom'"),
        ("records", {"cpu_oom": [[1.0, float("nan")]] * 3}, "counts of 'cpu_oom'"),
        ("answers", {"squared_error": float("inf"), "counts": [[2, 0]] * 20}, "inf as sum of 40 squared errors"),
        ("answers", {"squared_error": 1.0, "counts": [[2, 0]] * 20}, "want those of the same ones"),
        ("answers", {"squared_error": 1.0, "counts": [[2, 0]] * 3}, "want 20 pairs"),
        ("prior_answers", {"squared_error": 1.0, "counts": [[-2, 0]] * 20}, "a count of answers below 0"),
        ("nodes", [["n0", []], ["n0", []]], "the node 'n0' twice"),
        ("nodes", [["n0", [[0, "cpu_oom", "j"]] * 40]], "40 failures of 'n0'"),
        ("remembered", b"\1" * 16, "a name of an outcome twice"),
        ("seed", -1, "seed -1"),
        ("generation", -1, "generation -1"),
        ("generation", "7", "cannot be read"),
        ("extra", 1, "cannot be read"),
    ],
)
def test_contents_that_cannot_be_are_refused(field: str, value: object, said: str) -> None:
    contents = opened(dump_state(taught()))
    with pytest.raises(ModelFileError, match=said):
        load_state(sealed({**contents, field: value}))


def test_weights_that_no_learning_makes_are_refused() -> None:
    contents = opened(dump_state(taught()))
    count = len(contents["weights"]) // 8  # type: ignore[arg-type]
    for value in (np.nan, np.inf, 1e9):
        with pytest.raises(ModelFileError, match="a weight that is not finite"):
            load_state(sealed({**contents, "weights": np.full(count, value).tobytes()}))
    rising = np.arange(count, dtype="<u4")[::-1].tobytes()
    with pytest.raises(ModelFileError, match="slots that do not rise"):
        load_state(sealed({**contents, "slots": rising}))


def test_a_state_of_other_features_is_another_kind_of_mistake() -> None:
    with pytest.raises(ModelMismatchError, match="learned from features '0'"):
        load_state(sealed({**opened(dump_state(taught())), "features_version": "0"}))


def test_going_back_makes_a_new_generation_with_what_was_known_then() -> None:
    old = dump_state(taught(10))
    now = load_state(old)
    now.generation = 9
    now.learn(situation(failing(1)), passed=False)
    back = rolled_back(now, load_state(old))
    assert back.generation == 10
    assert back.origin == "went back from generation 9 to 7"
    assert back.quality.outcomes == 10
    with pytest.raises(ModelMismatchError, match="generation 9 is not before 7"):
        rolled_back(load_state(old), now)


def test_a_state_names_the_one_it_came_from() -> None:
    first = dump_state(taught(10))
    second = dump_state(load_state(first), parent=state_digest(first))
    assert parent_digest(first) == ""
    assert parent_digest(second) == state_digest(first) != state_digest(second)


def test_bytes_behind_the_contents_are_damage() -> None:
    with pytest.raises(ModelFileError, match="damaged"):
        load_state(dump_state(taught()) + b"\0")
