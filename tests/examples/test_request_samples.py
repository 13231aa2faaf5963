"""The example's sender of samples: batches go out again as they were, memory is bounded, everything is counted."""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from examples.parallel_service.request_samples import RequestSample, SampleSender
from tests.examples.stand_in_api import StandIn, failing, stand_in_api, taken


@pytest.fixture
def api() -> Iterator[StandIn]:
    with stand_in_api() as found:
        yield found


def sample(number: int) -> RequestSample:
    return RequestSample(1_790_000_000_000_000_000 + number, 10.0, 1_000.5, degree=1, explored=1)


def test_a_batch_whose_answer_was_lost_goes_out_again_under_its_id(api: StandIn) -> None:
    sender = SampleSender(api.url, "web", "host 1", batch=2, key="tw_secret")
    for number in range(3):
        sender.add(sample(number))
    api.say(None, failing(503), failing(429), failing(404), taken())
    assert [sender.send_once() for _ in range(6)] == ["later", "later", "later", "later", "sent", "sent"]
    assert sender.send_once() == "nothing"
    first, *again, second = api.asked
    assert {(one.path, one.body) for one in again} == {(first.path, first.body)}
    asked = urlsplit(first.path)
    assert asked.path == "/api/v1/services/web/requests"
    assert parse_qs(asked.query)["instance"] == ["host 1"]
    assert parse_qs(asked.query)["batch"] != parse_qs(urlsplit(second.path).query)["batch"]
    assert first.headers["Authorization"] == "Bearer tw_secret"
    assert [one["arrival_ns"] % 10 for one in first.requests() + second.requests()] == [0, 1, 2]
    assert (sender.accepted, sender.retries, sender.dropped, sender.refused) == (3, 4, 0, 0)


def test_what_is_not_known_is_not_sent(api: StandIn) -> None:
    sender = SampleSender(api.url, "web", "1")
    sender.add(sample(5))
    api.say(taken())
    sender.send_once()
    assert api.asked[0].requests() == [
        {
            "arrival_ns": sample(5).arrival_ns,
            "wait_us": 10.0,
            "service_us": 1000.5,
            "degree": 1,
            "explored": 1,
            "weight": 1,
        }
    ]


def test_memory_is_bounded_and_what_had_no_room_is_counted(api: StandIn) -> None:
    sender = SampleSender(api.url, "web", "1", most_waiting=5, batch=2)
    for number in range(9):
        sender.add(sample(number))
    assert sender.dropped == 4
    api.say(failing(400), taken(left_out=1))
    assert sender.send_once() == "refused"
    sender.stop()
    assert (sender.refused, sender.accepted, sender.left_out, sender.dropped) == (2, 1, 2, 4)


def test_what_cannot_be_sent_at_the_end_is_counted_as_dropped() -> None:
    sender = SampleSender("http://127.0.0.1:9", "web", "1", batch=2)
    for number in range(5):
        sender.add(sample(number))
    sender.stop()
    assert sender.dropped == 5


def test_answers_that_say_nothing_count_as_taken_ones_of_nonsense_are_asked_again(api: StandIn) -> None:
    sender = SampleSender(api.url, "web", "1")
    sender.add(sample(0))
    api.say((200, b"<html>", {}), (200, b"[]", {}))
    assert sender.send_once() == "later"
    assert sender.send_once() == "sent"
    assert sender.accepted == 1


def test_ids_of_two_starts_never_meet(api: StandIn) -> None:
    api.say(taken())
    for _ in range(2):
        sender = SampleSender(api.url, "web", "1")
        sender.add(sample(0))
        sender.send_once()
    first, second = api.asked
    assert first.path != second.path


def test_its_thread_sends_a_full_batch_at_once_and_the_rest_at_the_end(api: StandIn) -> None:
    api.say(taken())
    sender = SampleSender(api.url, "web", "1", batch=3, every_s=3600.0)
    sender.start()
    for number in range(4):
        sender.add(sample(number))
    while sender.accepted < 3:
        sender._thread.join(0.005)
    sender.stop()
    assert sender.accepted == 4
    assert not sender._thread.is_alive()
