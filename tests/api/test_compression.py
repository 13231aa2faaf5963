"""gzip: for callers that take it, from a kilobyte on, with tags that still work, and never in the way of others."""

import gzip
import json
import threading

import httpx
import pytest

from api import compression
from tests.api.world import BEGIN_NS, END_NS, SECOND_NS

PATH = "/api/v1/quantiles"
RANGE = {"start": str(BEGIN_NS // SECOND_NS), "end": str(END_NS // SECOND_NS)}
LARGE = {"metric": "probe_rtt_us", "by": ["host", "tor"], "step": "10s", **RANGE}
SMALL = {"metric": "probe_rtt_us", **RANGE, "start": "0", "end": "60"}


def ask(client, parameters, method="GET", path=PATH, **headers):
    """The answer with its body as it was sent."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = client.http.build_request(method, path, params=parameters, headers={"Accept-Encoding": "", **headers})

    async def send():
        response = await client.http.send(request, stream=True)
        raw = b"".join([chunk async for chunk in response.aiter_raw()])
        return response, raw

    return client.portal.call(send)


def test_a_large_answer_is_gzipped_for_who_takes_it(client):
    plain, body = ask(client, LARGE)
    assert "content-encoding" not in plain.headers
    assert plain.headers["content-length"] == str(len(body))
    packed, short = ask(client, LARGE, Accept_Encoding="gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["content-length"] == str(len(short))
    assert gzip.decompress(short) == body
    assert len(short) < len(body) / 3
    for answer in (plain, packed):
        assert answer.headers["vary"] == "Accept, Accept-Encoding"
    assert ask(client, LARGE, Accept_Encoding="gzip")[1] == short  # equal answers are equal bytes


@pytest.mark.parametrize(
    ("accepted", "taken"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("deflate, *", True),
        ("x-gzip", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("*;q=0", False),
        ("deflate, br", False),
        (",;q=;;,", False),
    ],
)
def test_only_who_names_gzip_gets_it(client, accepted, taken):
    response, _ = ask(client, LARGE, Accept_Encoding=accepted)
    assert (response.headers.get("content-encoding") == "gzip") == taken


@pytest.mark.parametrize(("path", "parameters"), [(PATH, SMALL), ("/healthz", {}), ("/nowhere", {})])
def test_short_answers_stay_as_they_are(client, path, parameters):
    response, body = ask(client, parameters, path=path, Accept_Encoding="gzip")
    assert ("content-encoding" in response.headers, len(body) < 1_024) == (False, True)
    assert json.loads(body)


@pytest.mark.parametrize("path", ["/metrics", "/openapi.json", "/docs"])
def test_other_text_is_compressed_too(client, path):
    client.get(PATH, metric="probe_rtt_us")
    response, body = ask(client, {}, path=path, Accept_Encoding="gzip")
    assert response.headers["content-encoding"] == "gzip"
    assert gzip.decompress(body)


@pytest.mark.parametrize("parameters", [LARGE, SMALL])
@pytest.mark.parametrize("accepted", ["", "gzip"])
def test_tags_give_304_however_the_answer_was_sent_before(client, parameters, accepted):
    """A 304 carries the tag that the 200 would have had, weak where the bytes may have been compressed."""
    full, _ = ask(client, parameters, Accept_Encoding=accepted)
    assert full.headers["etag"].startswith('W/"' if accepted else '"')
    for earlier in ("", "gzip"):
        tag = ask(client, parameters, Accept_Encoding=earlier)[0].headers["etag"]
        again, body = ask(client, parameters, Accept_Encoding=accepted, If_None_Match=tag)
        assert (again.status_code, body) == (304, b"")
        assert again.headers["etag"] == full.headers["etag"]
        assert again.headers["vary"] == "Accept, Accept-Encoding"
        assert "content-encoding" not in again.headers


def test_head_has_the_headers_of_the_compressed_answer(client):
    got, _ = ask(client, LARGE, Accept_Encoding="gzip")
    head, body = ask(client, LARGE, method="HEAD", Accept_Encoding="gzip")
    assert body == b""
    names = ("content-length", "content-encoding", "etag", "vary", "content-type")
    assert {name: head.headers[name] for name in names} == {name: got.headers[name] for name in names}


@pytest.mark.parametrize(("size", "apart"), [(2_000, False), (5_000_000, True)])
def test_large_bodies_are_compressed_in_another_thread_than_the_one_that_answers(client, monkeypatch, size, apart):
    threads = []
    compress = compression._compress
    monkeypatch.setattr(compression, "_compress", lambda body: threads.append(threading.get_ident()) or compress(body))

    async def app(scope, receive, send):
        threads.append(threading.get_ident())
        start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]}
        await send(start)
        await send({"type": "http.response.body", "body": b"x" * size})

    async def ask_app():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(compression.Compression(app))) as http:
            return await http.get("http://api/", headers={"Accept-Encoding": "gzip"})

    response = client.portal.call(ask_app)
    assert (response.headers["content-encoding"], len(response.content)) == ("gzip", size)
    answering, compressing = threads
    assert (answering != compressing) == apart


def test_what_comes_in_pieces_or_compressed_already_or_as_no_text_passes_as_it_is(client):
    async def app(scope, receive, send):
        kind = scope["path"].encode()
        headers = {
            b"/pieces": [(b"content-type", b"text/plain")],
            b"/packed": [(b"content-type", b"text/plain"), (b"content-encoding", b"br")],
            b"/image": [(b"content-type", b"image/png")],
        }[kind]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * 2_000, "more_body": True})
        await send({"type": "http.response.body", "body": b"y" * 2_000})

    async def ask_app(path):
        transport = httpx.ASGITransport(compression.Compression(app))
        async with (
            httpx.AsyncClient(transport=transport) as http,
            http.stream("GET", f"http://api{path}", headers={"Accept-Encoding": "gzip"}) as response,
        ):
            return b"".join([chunk async for chunk in response.aiter_raw()])

    for path in ("/pieces", "/packed", "/image"):
        assert client.portal.call(ask_app, path) == b"x" * 2_000 + b"y" * 2_000
