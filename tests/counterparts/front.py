"""A door in front of a broker: it terminates TLS, asks for client certificates and passwords, then lets through.

The brokers that pip brings can do none of this. What a client must do to come in is what Apache Kafka wants: a TLS
handshake, then SaslHandshake and SaslAuthenticate, PLAIN or SCRAM as RFC 5802 has it. The broker behind must
advertise the door's address.
"""

import base64
import hashlib
import hmac
import secrets
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from kafka.protocol.sasl import (
    SaslAuthenticateRequest,
    SaslAuthenticateResponse,
    SaslHandshakeRequest,
    SaslHandshakeResponse,
)

_HANDSHAKE, _AUTHENTICATE, _API_VERSIONS = 17, 36, 18
_MECHANISMS = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
_UNSUPPORTED, _REFUSED = 33, 58
_ITERATIONS = 4096
_CLOSE_AFTER_S = 0.1  # as Apache Kafka does with those it refuses


class RefusedError(Exception):
    """Who knocks does not come in."""


class _Door:
    """One listening port."""

    def __init__(self, port: int, broker: str, tls: ssl.SSLContext | None, users: Mapping[str, str] | None) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        host, _, backend = broker.rpartition(":")
        self._broker = (host, int(backend))
        self._tls = tls
        self._users = users
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, name="door", daemon=True).start()

    def close(self) -> None:
        for connection in [self._listener, *self._open]:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._let_in, args=(client,), name="door-client", daemon=True).start()

    def _let_in(self, client: socket.socket) -> None:
        with suppress(OSError, RefusedError), socket.create_connection(self._broker) as broker:
            self._open += [client, broker]
            if self._tls is not None:
                client = self._tls.wrap_socket(client, server_side=True)
                self._open.append(client)
            if self._users is not None:
                self._authenticate(client, broker, self._users)
            _pump(client, broker)
        client.close()

    def _authenticate(self, client: socket.socket, broker: socket.socket, users: Mapping[str, str]) -> None:
        """Answer until the client is known; only the question for versions goes to the broker before that."""
        exchange: Iterator[bytes] | None = None
        tokens: list[bytes] = []
        while True:
            request = _message(client)
            key, version, correlation = struct.unpack_from(">hhi", request)
            if key == _API_VERSIONS:
                _send(broker, request)
                _send(client, _message(broker))
            elif key == _HANDSHAKE:
                wanted = SaslHandshakeRequest.decode(request, version=version, header=True).mechanism
                code = 0 if wanted in _MECHANISMS else _UNSUPPORTED
                _reply(client, SaslHandshakeResponse(error_code=code, mechanisms=_MECHANISMS), version, correlation)
                exchange = _plain(tokens, users) if wanted == "PLAIN" else _scram(tokens, users, wanted)
            elif key == _AUTHENTICATE and exchange is not None:
                tokens.append(bytes(SaslAuthenticateRequest.decode(request, version=version, header=True).auth_bytes))
                answer = {"error_code": 0, "error_message": None, "auth_bytes": b"", "session_lifetime_ms": 0}
                try:
                    answer["auth_bytes"] = next(exchange)
                    done = False
                except StopIteration as through:
                    answer["auth_bytes"], done = through.value, True
                except RefusedError:
                    answer |= {"error_code": _REFUSED, "error_message": "wrong user or password"}
                    _reply(client, SaslAuthenticateResponse(**answer), version, correlation)
                    time.sleep(_CLOSE_AFTER_S)
                    raise
                _reply(client, SaslAuthenticateResponse(**answer), version, correlation)
                if done:
                    return
            else:
                raise RefusedError(f"request {key} before authentication")


def _plain(tokens: list[bytes], users: Mapping[str, str]) -> Iterator[bytes]:
    _, user, password = tokens.pop().split(b"\0")
    if users.get(user.decode()) != password.decode():
        raise RefusedError(user)
    return b""
    yield  # a generator without an intermediate answer


def _scram(tokens: list[bytes], users: Mapping[str, str], mechanism: str) -> Iterator[bytes]:
    name = mechanism.removeprefix("SCRAM-").replace("-", "").lower()

    def keyed(key: bytes, message: bytes) -> bytes:
        return hmac.new(key, message, name).digest()

    first = tokens.pop().removeprefix(b"n,,")
    fields = dict(part.split(b"=", 1) for part in first.split(b","))
    salt = secrets.token_bytes(16)
    nonce = fields[b"r"] + secrets.token_hex(12).encode()
    question = b"r=%s,s=%s,i=%d" % (nonce, base64.b64encode(salt), _ITERATIONS)
    yield question
    last, _, proof = tokens.pop().partition(b",p=")
    password = users.get(fields[b"n"].decode())
    if password is None:
        raise RefusedError(fields[b"n"])
    salted = hashlib.pbkdf2_hmac(name, password.encode(), salt, _ITERATIONS)
    client_key = keyed(salted, b"Client Key")
    signed = b",".join([first, question, last])
    signature = keyed(hashlib.new(name, client_key).digest(), signed)
    if bytes(a ^ b for a, b in zip(client_key, signature, strict=True)) != base64.b64decode(proof):
        raise RefusedError(fields[b"n"])
    return b"v=" + base64.b64encode(keyed(keyed(salted, b"Server Key"), signed))


def _message(connection: socket.socket) -> bytes:
    (size,) = struct.unpack(">i", _exactly(connection, 4))
    return _exactly(connection, size)


def _exactly(connection: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        part = connection.recv(size - len(got))
        if not part:
            raise RefusedError("it hung up")
        got += part
    return got


def _send(connection: socket.socket, message: bytes) -> None:
    connection.sendall(struct.pack(">i", len(message)) + message)


def _reply(client: socket.socket, response: SaslHandshakeResponse, version: int, correlation: int) -> None:
    header = struct.pack(">i", correlation) + (b"\0" if type(response).flexible_version_q(version) else b"")
    _send(client, header + bytes(response.encode(version=version)))


def _pump(client: socket.socket, broker: socket.socket) -> None:
    """Both ways in one thread, for a TLS connection may be read and written by one only."""
    while True:
        waiting = isinstance(client, ssl.SSLSocket) and client.pending()
        readable = [client] if waiting else select.select([client, broker], [], [])[0]
        for source, sink in ((client, broker), (broker, client)):
            if source in readable:
                data = source.recv(65536)
                if not data:
                    return
                sink.sendall(data)


@contextmanager
def door(
    port: int, broker: str, *, tls: ssl.SSLContext | None = None, users: Mapping[str, str] | None = None
) -> Iterator[None]:
    """A door on `port` to `broker`; `users` are names and passwords, None asks for none."""
    opened = _Door(port, broker, tls, users)
    try:
        yield
    finally:
        opened.close()
