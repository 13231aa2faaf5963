"""TLS and SASL with real handshakes: who comes in, who does not, and what the error says to do."""

import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.counterparts.broker import tansu
from tests.counterparts.choice import free_port
from tests.counterparts.front import door
from tests.wire.kafka_world import PARTITIONS, kafka_member, published, publisher, topic_settings, until
from wire.errors import TransportError, TransportRefusedError
from wire.kafka_publisher import KafkaPublisher
from wire.kafka_topics import create_topic, describe_topic

USERS = {"agent": "correct horse"}


@dataclass
class Doors:
    """A broker behind doors; the files of those who may come in."""

    folder: Path
    opened: ExitStack
    authority: trustme.CA

    def server(self, *, host: str = "127.0.0.1", client_certificate: bool = False, users: bool = False) -> str:
        """A broker whose only door speaks TLS under a certificate for `host`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(host).configure_cert(context)
        if client_certificate:
            context.verify_mode = ssl.CERT_REQUIRED
            self.authority.configure_trust(context)
        return self._behind(context, USERS if users else None)

    def plain_server(self) -> str:
        """A broker whose only door asks for a user, without TLS."""
        return self._behind(None, USERS)

    def certificate(self, authority: trustme.CA) -> dict[str, str]:
        """Settings of a client with a certificate of `authority`."""
        made = authority.issue_cert("agent.example")
        paths = {"tls_certificate_path": self.folder / "agent.pem", "tls_key_path": self.folder / "agent.key"}
        paths["tls_certificate_path"].write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        paths["tls_key_path"].write_bytes(made.private_key_pem.bytes())
        return {name: str(path) for name, path in paths.items()}

    def tls(self) -> dict[str, object]:
        """Settings of a client that trusts the authority."""
        path = self.folder / "authority.pem"
        self.authority.cert_pem.write_to_path(str(path))
        return {"tls": True, "tls_ca_path": str(path)}

    def _behind(self, context: ssl.SSLContext | None, users: dict[str, str] | None) -> str:
        port = free_port()
        broker = self.opened.enter_context(tansu(advertised=port))
        self.opened.enter_context(door(port, broker.address, tls=context, users=users))
        return f"127.0.0.1:{port}"


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[Doors]:
    with ExitStack() as opened:
        yield Doors(tmp_path, opened, trustme.CA())


def refusal(server: str, **settings: object) -> str:
    """What an agent is told that must not come in."""
    sender = KafkaPublisher(topic_settings(server, **settings))
    try:
        with pytest.raises(TransportError) as caught:
            sender.connect(20.0)
    finally:
        sender.close()
    return str(caught.value)


def works(server: str, **settings: object) -> None:
    """Create, publish and read."""
    config = topic_settings(server, **settings)
    create_topic(config, PARTITIONS)
    with publisher(config) as sender:
        published(sender, [(n % PARTITIONS, b"%d" % n) for n in range(8)])
    member = kafka_member(config)
    until(lambda: len(member.records) == 8, "read back")
    member.stop()


def test_frames_go_over_tls_with_a_client_certificate_and_a_password(doors: Doors) -> None:
    server = doors.server(client_certificate=True, users=True)
    password = doors.folder / "password"
    password.write_text("correct horse\n")
    works(
        server,
        **doors.tls(),
        **doors.certificate(doors.authority),
        sasl="scram-sha-512",
        sasl_user="agent",
        sasl_password_path=str(password),
    )


def test_without_or_with_a_foreign_client_certificate_nobody_comes_in(doors: Doors) -> None:
    server = doors.server(client_certificate=True)
    assert "set tls_certificate_path and tls_key_path" in refusal(server, **doors.tls())
    foreign = refusal(server, **doors.tls(), **doors.certificate(trustme.CA()))
    assert "refuses our client certificate" in foreign
    assert "who signed tls_certificate_path" in foreign


def test_a_broker_that_is_not_who_it_should_be_is_not_talked_to(doors: Doors) -> None:
    server = doors.server(host="other.example")
    message = refusal(server, **doors.tls())
    assert "its certificate is refused" in message
    assert "127.0.0.1" in message
    works(server, **doors.tls(), tls_check_host=False)
    doors.authority = trustme.CA()
    assert "its certificate is refused" in refusal(server, **doors.tls(), tls_check_host=False)


def test_a_client_without_tls_is_told_to_try_it(doors: Doors) -> None:
    assert "wants TLS (transport.kafka.tls)" in refusal(doors.server())


def test_tls_on_a_port_without_it_is_named(kafka_server: str, doors: Doors) -> None:
    assert "does this port speak TLS?" in refusal(kafka_server, **doors.tls())


@pytest.mark.parametrize("mechanism", ["plain", "scram-sha-256", "scram-sha-512"])
def test_a_user_comes_in_with_the_right_password_only(doors: Doors, mechanism: str) -> None:
    server = doors.plain_server()
    who = {"sasl": mechanism, "sasl_user": "agent"}
    works(server, **who, sasl_password="correct horse")
    for user, password in (("agent", "hunter2"), ("nobody", "correct horse")):
        config = topic_settings(server, sasl=mechanism, sasl_user=user, sasl_password=password)
        with pytest.raises(TransportRefusedError, match=f"user '{user}' is refused by {mechanism}; check transport"):
            describe_topic(config)
        message = refusal(server, sasl=mechanism, sasl_user=user, sasl_password=password)
        assert f"user {user!r} is refused by {mechanism}" in message
        assert password not in message
