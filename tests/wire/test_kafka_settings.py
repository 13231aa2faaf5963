"""What the Kafka settings mean to the client library, and that a mistake is named with its key."""

import ssl
from pathlib import Path

import msgspec
import pytest
import trustme

from wire.errors import TransportSettingError
from wire.kafka_settings import KafkaConfig, client_options

SERVERS = {"servers": ["b-1.example:9092", "[::1]:9093"]}


def config(**settings: object) -> KafkaConfig:
    return msgspec.convert(SERVERS | settings, KafkaConfig)


def test_the_bare_minimum_is_plain_and_patient() -> None:
    options = client_options(config(), "me")
    assert options["bootstrap_servers"] == ["b-1.example:9092", "[::1]:9093"]
    assert (options["security_protocol"], options["client_id"]) == ("PLAINTEXT", "me")
    assert (options["request_timeout_ms"], options["reconnect_backoff_max_ms"]) == (10_000, 5_000)
    assert not {"ssl_context", "sasl_mechanism"} & options.keys()


@pytest.mark.parametrize(
    ("tls", "sasl", "protocol"),
    [(True, "none", "SSL"), (False, "plain", "SASL_PLAINTEXT"), (True, "scram-sha-256", "SASL_SSL")],
)
def test_tls_and_sasl_make_the_protocol(tls: bool, sasl: str, protocol: str) -> None:
    user = {} if sasl == "none" else {"sasl_user": "u", "sasl_password": "p"}
    options = client_options(config(tls=tls, sasl=sasl, **user), "me")
    assert options["security_protocol"] == protocol
    if tls:
        context = options["ssl_context"]
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    if user:
        assert options["sasl_mechanism"] == sasl.upper()
        assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("u", "p")


def test_the_host_name_can_be_left_unchecked_but_never_the_certificate() -> None:
    context = client_options(config(tls=True, tls_check_host=False), "me")["ssl_context"]
    assert (context.check_hostname, context.verify_mode) == (False, ssl.CERT_REQUIRED)


def test_a_password_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes("pä ss=,\r\n".encode())
    options = client_options(config(sasl="plain", sasl_user="u", sasl_password_path=str(file)), "me")
    assert options["sasl_plain_password"] == "pä ss=,"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory; check the path"),
        (b"\n", "is empty; write the password into it"),
        (b"two\nlines\n", "the password has a line end or NUL inside; wanted one line"),
        (b"\xff\xfe", "is not text"),
    ],
)
def test_a_password_file_of_the_wrong_shape_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(TransportSettingError, match=message) as caught:
        client_options(config(sasl="plain", sasl_user="u", sasl_password_path=str(file)), "me")
    assert str(caught.value).startswith("transport.kafka.sasl_password_path: ")


def test_certificate_and_key_are_read_and_faults_in_them_named(tmp_path: Path) -> None:
    made = trustme.CA().issue_cert("agent.example")
    certificate, key, other, nothing = (tmp_path / name for name in ("a.pem", "a.key", "b.key", "nothing.pem"))
    made.cert_chain_pems[0].write_to_path(str(certificate))
    made.private_key_pem.write_to_path(str(key))
    trustme.CA().issue_cert("x.example").private_key_pem.write_to_path(str(other))
    nothing.write_text("nothing of use")
    pair = {"tls": True, "tls_certificate_path": str(certificate), "tls_key_path": str(key)}
    assert client_options(config(**pair), "me")["ssl_context"]
    faults = [
        (pair | {"tls_key_path": str(other)}, r"tls_key_path: .*b\.key cannot be used \(key values mismatch\)"),
        (pair | {"tls_key_path": str(tmp_path / "absent")}, r"tls_key_path: .*absent cannot be read"),
        (pair | {"tls_certificate_path": str(tmp_path / "absent")}, r"tls_certificate_path: .*absent cannot be read"),
        ({"tls": True, "tls_ca_path": str(tmp_path / "absent")}, r"tls_ca_path: .* \(no such file or directory\)"),
        ({"tls": True, "tls_ca_path": str(nothing)}, r"tls_ca_path: .*; wanted a file of PEM certificates"),
    ]
    for settings, message in faults:
        with pytest.raises(TransportSettingError, match=f"transport.kafka.{message}"):
            client_options(config(**settings), "me")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sasl": "plain"}, "sasl: plain wants sasl_user and one of sasl_password and sasl_password_path"),
        ({"sasl": "plain", "sasl_user": "u", "sasl_password": "p", "sasl_password_path": "f"}, "one of sasl_password"),
        ({"sasl_password": "p"}, "sasl is none; name the mechanism"),
        ({"tls_ca_path": "ca.pem"}, "tls_ca_path is set, but tls is false; set tls: true"),
        ({"tls": True, "tls_key_path": "k"}, "belong together; one of them is missing"),
        ({"tls": True, "tls_key_password": "p", "tls_key_password_path": "f"}, "are both set; keep one"),
        ({"delivery_timeout_s": 10.0}, "delivery_timeout_s is 10, wanted at least 1 s more than request_timeout_s"),
        ({"session_timeout_s": 6.0}, r"heartbeat_s is 3, wanted at most a third of session_timeout_s \(6\)"),
        ({"servers": ["broker"]}, "Expected `str` matching regex"),
        ({"servers": ["broker:9092,other:9092"]}, "Expected `str` matching regex"),
        ({"topic": "no spaces"}, "Expected `str` matching regex"),
        ({"sasl": "gssapi"}, "Invalid enum value 'gssapi'"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        config(**settings)
