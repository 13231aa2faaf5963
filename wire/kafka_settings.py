"""The settings of the Kafka transport, and what they mean to the client library: addresses, TLS, SASL, secrets.

Nothing here imports the library: settings are read by every process, and 19 MB of client only by those that talk to
a broker. Secrets may stand in a file of their own; they are read when a connection is made.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from wire.errors import TransportSettingError

if TYPE_CHECKING:
    import ssl

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
Server = Annotated[str, msgspec.Meta(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[^\s:/,\[\]]+):[0-9]{1,5}\Z")]
# As brokers take them; `.` and `..` are refused by the broker itself.
TopicName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,240}\Z")]
Sasl = Literal["none", "plain", "scram-sha-256", "scram-sha-512"]

# How long one attempt to find the brokers may take; it runs beside the agent's or collector's own work.
BOOTSTRAP_S: Final = 5.0
_FIRST_RECONNECT_S: Final = 0.1
_LONGEST_RECONNECT_S: Final = 5.0
# Added partitions and moved leaders are seen after at most this.
_METADATA_S: Final = 60.0


class KafkaConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to reach the brokers and which topic carries the frames."""

    #: HOST:PORT of some brokers; the others are learnt from them.
    servers: tuple[Server, ...] = ()
    topic: TopicName = "tailwatch"
    #: Consumer group of the collectors that share the topic's partitions.
    group: Annotated[str, msgspec.Meta(min_length=1, max_length=249)] = "tailwatch"
    #: Of whole batches; rows are packed already, headers are not: the 10 small frames of one checkpoint shrink to 73 %.
    compression: Literal["none", "lz4", "zstd"] = "lz4"
    tls: bool = False
    #: Authorities that may have signed the brokers' certificates; "" is what the system trusts.
    tls_ca_path: str = ""
    #: Certificate (with its chain) and key that this host shows; both in PEM.
    tls_certificate_path: str = ""
    tls_key_path: str = ""
    tls_key_password: str = ""
    tls_key_password_path: str = ""
    #: False accepts a certificate that was issued for another host name.
    tls_check_host: bool = True
    sasl: Sasl = "none"
    sasl_user: str = ""
    sasl_password: str = ""
    sasl_password_path: str = ""
    #: Copies of each partition of a topic that `tailwatch topic create` makes; 0 leaves it to the broker.
    replication: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    #: How long such a topic keeps frames; longer than any outage of the collectors.
    retention_s: Annotated[float, msgspec.Meta(gt=0, le=10 * 366 * 86_400)] = 7 * 86_400.0
    #: One request to a broker may take so long.
    request_timeout_s: Seconds = 10.0
    #: A frame not acknowledged for so long is published again by the agent.
    delivery_timeout_s: Seconds = 30.0
    #: A collector not heard of for so long loses its partitions to the others.
    session_timeout_s: Seconds = 10.0
    heartbeat_s: Seconds = 3.0

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        if self.delivery_timeout_s < self.request_timeout_s + 1:
            raise ValueError(
                f"delivery_timeout_s is {self.delivery_timeout_s:g}, wanted at least 1 s more than request_timeout_s "
                f"({self.request_timeout_s:g}): a request must be able to end before its frame is given up"
            )
        if self.heartbeat_s > self.session_timeout_s / 3:
            raise ValueError(
                f"heartbeat_s is {self.heartbeat_s:g}, wanted at most a third of session_timeout_s "
                f"({self.session_timeout_s:g}): one lost heartbeat must not cost the partitions"
            )
        self._check_tls()
        self._check_sasl()

    def _check_tls(self) -> None:
        given = [
            name
            for name in ("tls_ca_path", "tls_certificate_path", "tls_key_path", "tls_key_password")
            if getattr(self, name)
        ]
        if given and not self.tls:
            raise ValueError(f"{given[0]} is set, but tls is false; set tls: true")
        if bool(self.tls_certificate_path) != bool(self.tls_key_path):
            raise ValueError("tls_certificate_path and tls_key_path belong together; one of them is missing")
        if self.tls_key_password and self.tls_key_password_path:
            raise ValueError("tls_key_password and tls_key_password_path are both set; keep one")

    def _check_sasl(self) -> None:
        passwords = [name for name in ("sasl_password", "sasl_password_path") if getattr(self, name)]
        if self.sasl == "none":
            if self.sasl_user or passwords:
                raise ValueError("sasl_user or a password is set, but sasl is none; name the mechanism")
        elif not self.sasl_user or len(passwords) != 1:
            raise ValueError(f"sasl: {self.sasl} wants sasl_user and one of sasl_password and sasl_password_path")

    @property
    def where(self) -> str:
        """The servers as one text."""
        return ", ".join(self.servers)


def client_options(config: KafkaConfig, client_id: str) -> dict[str, Any]:
    """What every client of the library is given: where to, how to prove who we are, how patient to be.

    Raises:
        TransportSettingError: a file named in the settings cannot be used; says which and why.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": list(config.servers),
        "client_id": client_id,
        "security_protocol": _PROTOCOLS[config.tls, config.sasl != "none"],
        "request_timeout_ms": round(config.request_timeout_s * 1e3),
        "reconnect_backoff_ms": round(_FIRST_RECONNECT_S * 1e3),
        "reconnect_backoff_max_ms": round(_LONGEST_RECONNECT_S * 1e3),
        "metadata_max_age_ms": round(_METADATA_S * 1e3),
        "bootstrap_timeout_ms": round(BOOTSTRAP_S * 1e3),
        "metrics_enabled": False,
    }
    if config.tls:
        options["ssl_context"] = tls_context(config)
    if config.sasl != "none":
        options |= {
            "sasl_mechanism": config.sasl.upper(),
            "sasl_plain_username": config.sasl_user,
            "sasl_plain_password": _secret(config.sasl_password, config.sasl_password_path, "sasl_password"),
        }
    return options


_PROTOCOLS: Final = {
    (False, False): "PLAINTEXT",
    (True, False): "SSL",
    (False, True): "SASL_PLAINTEXT",
    (True, True): "SASL_SSL",
}


def tls_context(config: KafkaConfig) -> "ssl.SSLContext":
    """TLS 1.2 or newer; the broker's certificate is always verified.

    Raises:
        TransportSettingError: a certificate or key cannot be read.
    """
    import ssl  # noqa: PLC0415  # 5 ms of every process's start, for those that use it

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = config.tls_check_host
    if not config.tls_ca_path:
        context.load_default_certs()
    else:
        try:
            context.load_verify_locations(config.tls_ca_path)
        except (OSError, ssl.SSLError) as error:
            raise _unusable("tls_ca_path", config.tls_ca_path, "a file of PEM certificates", error) from error
    if config.tls_certificate_path:
        password = _secret(config.tls_key_password, config.tls_key_password_path, "tls_key_password")
        for name in ("tls_certificate_path", "tls_key_path"):
            _read(name, getattr(config, name))  # the library would not say which of the two it misses
        try:
            # A callback, because without one the library would ask the terminal for a missing password.
            context.load_cert_chain(config.tls_certificate_path, config.tls_key_path, lambda: password)
        except (OSError, ssl.SSLError) as error:
            what = "the key of tls_certificate_path in PEM, and tls_key_password if it has one"
            raise _unusable("tls_key_path", config.tls_key_path, what, error) from error
    return context


def _secret(given: str, path: str, name: str) -> str:
    """The secret itself, from the settings or from its file without the last line's end."""
    secret = _read(f"{name}_path", path).rstrip("\r\n") if path else given
    if path and not secret:
        raise TransportSettingError(f"transport.kafka.{name}_path: {path} is empty; write the password into it")
    if "\0" in secret or "\n" in secret:
        source = f"{name}_path" if path else name
        raise TransportSettingError(
            f"transport.kafka.{source}: the password has a line end or NUL inside; wanted one line"
        )
    return secret


def _read(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise TransportSettingError(
            f"transport.kafka.{name}: {path} cannot be read: {error.strerror}; check the path and who may read it"
        ) from error
    except UnicodeDecodeError as error:
        raise TransportSettingError(f"transport.kafka.{name}: {path} is not text; wanted PEM or a password") from error


def _unusable(name: str, path: str, wanted: str, error: Exception) -> TransportSettingError:
    reason = (
        (getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)).replace("_", " ").lower()
    )
    return TransportSettingError(f"transport.kafka.{name}: {path} cannot be used ({reason}); wanted {wanted}")
