"""What is known of a failed job when a retry is in question."""

from dataclasses import replace

from hypothesis import given
from hypothesis.strategies import text

from analytics.gpu.retry_features import SLOTS, features, masked_words, same_root, situation
from tests.analytics.gpu.attempt_rows import attempt, failing


def test_numbers_paths_addresses_and_ids_do_not_tell_texts_apart() -> None:
    one = "RuntimeError at 0x7f3a: open /data/run-17/ckpt_400.pt from 10.0.0.7:2049 failed after 31.5 s"
    two = "RuntimeError at 0x11: open /scratch/me/b/ckpt_9.pt from 192.168.3.20 failed after 2 s"
    assert masked_words(one) == masked_words(two)
    assert masked_words(one) != masked_words(one.replace("failed", "denied"))


@given(text("aZ_ 0.:/-\nx7f\u00e9\U0001f525\udc80", max_size=120))
def test_any_text_becomes_slots_in_range_and_in_order(words: str) -> None:
    slots, value = features(situation([attempt(template=words, user=words, reason=words[:20])]))
    assert list(slots) == sorted(set(slots))
    assert all(0 <= slot < SLOTS for slot in slots)
    assert abs(value**2 * len(slots) - 1) < 1e-9


def test_a_long_text_makes_no_more_features_than_its_beginning() -> None:
    long = " ".join(f"word{'abcdefghij'[n % 10]}{'klmnop'[n % 6]}" for n in range(100_000))
    assert len(features(situation([attempt(template=long)]))[0]) < 300


def test_slots_are_the_same_in_every_process() -> None:
    # crc32(b"always") folded; another number here makes every saved state worthless.
    assert 39_615 in features(situation([attempt()]))[0]


def test_repetitions_are_counted_back_to_another_root() -> None:
    chain = [*failing(2, "cpu_oom"), attempt(3, "nccl_timeout"), attempt(4, "cpu_oom"), attempt(5, "cpu_oom")]
    assert [situation(chain[:count]).repeats for count in range(1, 6)] == [0, 1, 0, 0, 1]


def test_a_preemption_in_between_neither_counts_nor_breaks_the_run() -> None:
    chain = [attempt(1, "cpu_oom"), attempt(2, "", outcome="preempted"), attempt(3, "cpu_oom")]
    assert situation(chain).repeats == 1
    assert situation(chain[:2]).repeats == 0


def test_the_scheduler_names_the_reason_where_the_logs_do_not() -> None:
    assert situation([attempt(reason="", outcome="timeout")]).reason == "time_limit"
    assert situation([attempt(reason="", outcome="failed")]).reason == ""
    assert situation([attempt(reason="gpu_ecc", outcome="node_failure")]).reason == "gpu_ecc"


def test_unknown_failures_are_one_root_by_their_text_or_else_by_their_run_time() -> None:
    assert same_root(attempt(1, "", template="lost 3 ranks"), attempt(2, "", template="lost 5 ranks"))
    assert not same_root(attempt(1, "", template="lost 3 ranks"), attempt(2, "", template="killed"))
    assert same_root(attempt(1, "", 2.0), attempt(2, "", 2.1))
    assert not same_root(attempt(1, "", 2.0), attempt(2, "", 3.0))


def test_the_same_root_on_other_nodes_is_seen_only_where_nodes_are_known() -> None:
    moved = [attempt(1, nodes=("a", "b")), attempt(2, nodes=("c", "d"))]
    assert situation(moved).other_nodes
    assert not situation([moved[0], replace(moved[1], nodes=("b", "c"))]).other_nodes
    assert not situation([moved[0], replace(moved[1], nodes=())]).other_nodes


def test_failures_of_unknown_length_and_reason_are_not_taken_for_the_same() -> None:
    first, second = (replace(attempt(number, ""), end_ns=None) for number in (1, 2))
    assert not same_root(first, second)
    assert same_root(attempt(1, ""), attempt(2, ""))
