"""Objects of a JSON array come out whole, wherever blocks end and whatever texts hold."""

import io
import json
import random
from collections.abc import Iterable

import pytest

from analytics.errors import DataError
from analytics.gpu.traces.json_objects import json_objects

TRICKY = ['"', "\\", '\\"', "{", "}", "[]", "},{", "é\n", "\\\\"]


def objects(text: str | bytes, block_bytes: int = 4096, **limits: int) -> Iterable[object]:
    raw = text.encode() if isinstance(text, str) else text
    return [json.loads(one) for one in json_objects(io.BytesIO(raw), "jobs.json", block_bytes=block_bytes, **limits)]


@pytest.mark.parametrize("block_bytes", [1, 5, 64, 1 << 20])
@pytest.mark.parametrize("form", ["compact", "indented", "lines"])
def test_any_objects_come_out_whatever_the_blocks(form: str, block_bytes: int) -> None:
    draw = random.Random(3)
    given = [
        {"".join(draw.choices(TRICKY, k=3)): [{"b": "".join(draw.choices(TRICKY, k=draw.randint(0, 4)))}]}
        for _ in range(40)
    ]
    text = (
        "\n".join(json.dumps(one) for one in given)
        if form == "lines"
        else json.dumps(given, indent=4 if form == "indented" else None)
    )
    assert objects(text, block_bytes) == given


def test_an_empty_array_has_none_and_a_mark_in_front_does_not_count() -> None:
    assert objects("[]") == objects(" \n[ ]\n") == objects("") == []
    assert objects(b'\xef\xbb\xbf[{"a": 1}]') == [{"a": 1}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"a": 1}, {"b": ', "ends in the middle of object 2; it was cut off"),
        ('[{"a": 1}, {"b": "}]', "ends in the middle of object 2"),
        ('[{"a": 1},', "ends after object 1 without the array's `]`"),
        ("[", "ends after object 0 without"),
        ('[{"a": 1}, 7, {"b": 2}]', "after object 1 stands '7'"),
        ('{"a": 1}}\n{"b": 2}', "after object 1 stands '}"),
        ("jobid,status", "after object 0 stands 'jobid,status'"),
    ],
)
def test_what_is_no_list_of_objects_is_refused_with_the_place(text: str, said: str) -> None:
    with pytest.raises(DataError, match=r"jobs\.json") as refused:
        objects(text)
    assert said in str(refused.value)


def test_an_object_beyond_the_limit_is_refused_before_memory_is_gone() -> None:
    with pytest.raises(DataError, match="object 2 is larger than 1 MiB"):
        objects('[{"a": 1}, {"b": "' + "x" * (3 << 20), most_bytes=1 << 20)
