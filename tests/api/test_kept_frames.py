"""Dead letters and the quarantine: what is there, why, and whose it is."""

import base64

import pytest

from api.list_models import DeadLettersPage, KeptReasonsAnswer, QuarantinePage
from api.routes import kept_frames
from store.claims import claim
from store.connect import open_engine
from store.flush import DeadLetter, Flush, Quarantined, write_flush
from store.registry import load_versions
from store.series import SeriesIds
from tests.api.test_lists import pages
from tests.api.world import NOW_NS, SECOND_NS, asking, fill, probe_records
from wire.frame import Header, encode_frame

LETTERS, QUARANTINE = "/api/v1/dead-letters", "/api/v1/quarantine"
VERSION = "8d5f0c2b7a11e94f"


def frame_of(agent, body=b"x" * 3_000):
    header = Header(agent, "a" * 32, 1, 0, 1, "partial", "probe_rtt", VERSION, 0, 0, 0, 1, 1)
    return encode_frame(header, body)


def damaged(agent):
    return frame_of(agent)[:-1] + b"\x00"


def keep(world, letters=(), quarantined=(), partition=0, later_s=0):
    """One flush with (reason, payload) of dead letters and quarantined frames."""
    engine = open_engine(world.url)
    with engine.begin() as connection:
        held = claim(connection, "tailwatch", partition, "collector-1")
        versions = load_versions(connection)
    flush = Flush(
        held.next_offset,
        NOW_NS + later_s * SECOND_NS,
        dead_letters=[DeadLetter(100 + n, reason, payload) for n, (reason, payload) in enumerate(letters)],
        quarantined=[
            Quarantined(200 + n, VERSION, reason, True, payload) for n, (reason, payload) in enumerate(quarantined)
        ],
    )
    write_flush(engine, held, flush, versions, SeriesIds())
    engine.dispose()


def fill_kept(tmp_path, address=""):
    world = fill(tmp_path / "kept.db", probe_records(n=60), address=address)
    aged = "frame of agent-a is {} s old; 100% sure, it_may be"
    keep(
        world, [(aged.format(90), frame_of("agent-a")), ("checksum is 00ff", damaged("agent-a")), ("5 bytes", b"hello")]
    )
    keep(world, [(aged.format(1234), frame_of("agent-b"))], [("no such plan", frame_of("agent-b"))], 1, later_s=10)
    return world


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def client(request, tmp_path_factory):
    address = ""
    if request.param == "postgresql":
        from tests.counterparts.choice import missing
        from tests.counterparts.postgres import programs, running

        if not programs():
            missing("no PostgreSQL programs")
        with (
            running(programs()[0]) as server,
            asking(fill_kept(tmp_path_factory.mktemp("kept"), server.url).url) as asked,
        ):
            yield asked
        return
    with asking(fill_kept(tmp_path_factory.mktemp("kept"), address).url) as asked:
        yield asked


def letters(client, **parameters):
    answer = client.get(LETTERS, **parameters)
    assert answer.status_code == 200, answer.text
    DeadLettersPage.model_validate_json(answer.content, strict=True)
    return answer.json()["dead_letters"]


def test_dead_letters_come_newest_first_with_reason_agent_size_and_first_bytes(client):
    newest, text, broken, oldest = letters(client)
    assert newest == {
        "agent": "agent-b",
        "reason": "frame of agent-b is 1234 s old; 100% sure, it_may be".replace("agent-b", "agent-a"),
        "received": "2026-11-22T07:01:13Z",
        "received_ns": NOW_NS + 10 * SECOND_NS,
        "topic": "tailwatch",
        "partition": 1,
        "offset": 100,
        "bytes": len(frame_of("agent-b")),
        "first_bytes": base64.b64encode(frame_of("agent-b")[:1_024]).decode(),
    }
    assert (text["agent"], text["bytes"], base64.b64decode(text["first_bytes"])) == (None, 5, b"hello")
    assert (broken["agent"], oldest["agent"]) == (None, "agent-a")  # of a damaged frame nothing is believed


def test_letters_can_be_narrowed_by_reason_and_agent(client):
    assert [one["offset"] for one in letters(client, reason="checksum")] == [101]
    assert [one["partition"] for one in letters(client, reason="s old; 100% sure, it_m")] == [1, 0]
    assert letters(client, reason="it%may") == letters(client, reason="Checksum") == []
    assert [one["agent"] for one in letters(client, agent="agent-b")] == ["agent-b"]
    assert letters(client, agent="agent-b", reason="checksum") == []


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_pages_put_together_are_all_letters(client, limit):
    found = [page.json()["dead_letters"] for page in pages(client, LETTERS, limit=limit)]
    assert [one for page in found for one in page] == letters(client)
    assert {len(page) for page in found[:-1]} <= {limit}


def test_a_page_ends_early_when_it_has_looked_at_much_and_the_next_goes_on(client, monkeypatch):
    monkeypatch.setattr(kept_frames, "LOOKED_AT_FRAMES", 1)
    found = [page.json()["dead_letters"] for page in pages(client, LETTERS, agent="agent-a")]
    assert [[one["agent"] for one in page] for page in found] == [[], [], [], ["agent-a"]]
    monkeypatch.setattr(kept_frames, "LOOKED_AT_FRAMES", 10)
    monkeypatch.setattr(kept_frames, "LOOKED_AT_BYTES", 3_100)
    assert [len(page.json()["dead_letters"]) for page in pages(client, LETTERS)] == [1, 2, 1]


def test_reasons_are_counted_without_their_numbers(client):
    answer = client.get(f"{LETTERS}/reasons")
    KeptReasonsAnswer.model_validate_json(answer.content, strict=True)
    found = answer.json()
    assert (found["frames"], found["bytes"]) == (4, sum(one["bytes"] for one in letters(client)))
    assert found["reasons"][0] == {
        "reason": "frame of agent-a is # s old; #% sure, it_may be",
        "frames": 2,
        "bytes": 2 * len(frame_of("agent-a")),
        "first": "2026-11-22T07:01:03Z",
        "first_ns": NOW_NS,
        "last": "2026-11-22T07:01:13Z",
        "last_ns": NOW_NS + 10 * SECOND_NS,
    }
    assert [one["reason"] for one in found["reasons"][1:]] == ["# bytes", "checksum is #ff"]


def test_the_quarantine_says_which_version_a_frame_waits_for(client):
    answer = client.get(QUARANTINE)
    QuarantinePage.model_validate_json(answer.content, strict=True)
    (frame,) = answer.json()["quarantine"]
    assert (frame["agent"], frame["query_version"], frame["offset"]) == ("agent-b", VERSION, 200)
    assert client.get(QUARANTINE, agent="agent-a").json() == {"quarantine": [], "next_cursor": None}
    assert client.get(f"{QUARANTINE}/reasons").json()["reasons"][0]["reason"] == "no such plan"


@pytest.mark.parametrize("path", [LETTERS, QUARANTINE])
@pytest.mark.parametrize(
    ("parameters", "parameter"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"cursor": "aG9zdA"}, "cursor"),
        ({"cursor": "LTE"}, "cursor"),
        ({"cursor": "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5"}, "cursor"),
        ({"cursor": "2aE"}, "cursor"),
        ({"reson": "x"}, "reson"),
    ],
)
def test_bad_pages_are_refused(client, path, parameters, parameter):
    response = client.get(path, **parameters)
    assert (response.status_code, response.json()["parameter"]) == (400, parameter)
