"""What was advised, and what the newest test said of nodes: the newest counts, whole and by name."""

from dataclasses import replace

import pytest
import sqlalchemy as sa

from store.errors import GpuRowError
from store.gpu_advice import AdviceRow, advice_of, put_advice
from store.gpu_nodes import NodeRow, list_nodes, put_nodes
from tests.store.gpu_world import BAD_TEXTS, NOW_NS

ADVICE = AdviceRow(
    job="train", number=2, given_ns=NOW_NS, decision="same", probability=0.75, model_generation=4, body='{"why": []}'
)


def node(name: str, **said: object) -> NodeRow:
    values = {"failures": 3, "expected": 1.5, "ratio": 2.0, "p_value": 0.01, "q_value": 0.04, "stands_out": True}
    return NodeRow(node=name, checked_ns=NOW_NS, body='{"jobs": 9}', **(values | said))  # type: ignore[arg-type]


def test_the_newest_advice_about_an_attempt_is_given_back(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        assert advice_of(connection, "train", 2) is None
        put_advice(connection, ADVICE)
        put_advice(connection, replace(ADVICE, number=1))
        newer = replace(
            ADVICE, given_ns=NOW_NS + 5, decision="never", probability=0.0, model_generation=None, body="{}"
        )
        put_advice(connection, newer)
        assert advice_of(connection, "train", 2) == newer
        assert advice_of(connection, "train", 1) == replace(ADVICE, number=1)
        for bad in BAD_TEXTS:
            assert advice_of(connection, bad, 1) is None
            with pytest.raises(GpuRowError, match=r"^job holds"):
                put_advice(connection, replace(ADVICE, job=bad))
        with pytest.raises(GpuRowError, match=r"^probability is nan"):
            put_advice(connection, replace(ADVICE, probability=float("nan")))


def test_a_test_of_nodes_takes_the_place_of_the_one_before(engine: sa.Engine) -> None:
    first = [node("n10"), node("B"), node("a", stands_out=False, ratio=None, expected=0.0)]
    with engine.begin() as connection:
        put_nodes(connection, first, NOW_NS)
        assert list_nodes(connection, limit=9) == [first[1], first[2], first[0]], "by code points, on both databases"
        assert [row.node for row in list_nodes(connection, limit=9, stands_out=True)] == ["B", "n10"]
        assert [row.node for row in list_nodes(connection, limit=1, after="B")] == ["a"]
        put_nodes(connection, [node("n10", failures=4), node("n11")], NOW_NS + 5)
        rows = list_nodes(connection, limit=9)
        assert [(row.node, row.failures, row.checked_ns) for row in rows] == [
            ("n10", 4, NOW_NS + 5),
            ("n11", 3, NOW_NS + 5),
        ]
        put_nodes(connection, [], NOW_NS + 6)
        assert list_nodes(connection, limit=9) == []


def test_nodes_with_any_name_are_kept_and_numbers_that_are_none_refused(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        put_nodes(connection, [node(bad) for bad in BAD_TEXTS], NOW_NS)
        names = [row.node for row in list_nodes(connection, limit=9)]
        assert names[:2] == ["a\\0b", "a\\udc80"]
        assert len(names[2]) == 256
        with pytest.raises(GpuRowError, match=r"^p_value is nan; want a number"):
            put_nodes(connection, [node("n1", p_value=float("nan"))], NOW_NS)
