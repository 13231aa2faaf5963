"""Whether brokers can be reached, found out by knocking: name, port, TLS handshake, and whether it hangs up.

The client library retries and logs, but what it finally raises says only that time has passed. What the operating
system and TLS say here goes into the error instead.
"""

import socket
import ssl
from typing import Final

from wire.kafka_settings import KafkaConfig, tls_context

_KNOCK_S: Final = 2.0
# A broker that misses a client certificate says so right after the handshake, in TLS 1.3 even behind it.
_HANG_UP_S: Final = 0.2


def why_unreachable(config: KafkaConfig) -> str:
    """Empty as soon as one server lets us knock, else one text about all of them; at most a few seconds for each.

    Raises:
        TransportSettingError: a certificate or key cannot be read.
    """
    context = tls_context(config) if config.tls else None
    reasons = []
    for server in config.servers:
        reason = _tried(server, context)
        if not reason:
            return ""
        reasons.append(f"{server}: {reason}")
    return "; ".join(reasons)


def connects(server: str) -> bool:
    """Whether anybody listens there."""
    try:
        _connected(server).close()
    except OSError:
        return False
    return True


def _tried(server: str, context: ssl.SSLContext | None) -> str:
    """What stands in the way; empty when nothing does."""
    try:
        connection = _connected(server)
    except socket.gaierror as error:
        return f"the name is not known ({error.strerror}); check transport.kafka.servers"
    except TimeoutError:
        return f"no answer within {_KNOCK_S:g} s; check the address, and that no firewall is between"
    except OSError as error:
        return f"{(error.strerror or str(error)).lower()}; is the broker running, and on this port?"
    with connection:
        if context is None:
            return ""
        try:
            with context.wrap_socket(connection, server_hostname=_host(server)) as encrypted:
                return _behind_tls(encrypted)
        except (OSError, ValueError) as error:
            return _tls_failure(error)


def _behind_tls(encrypted: ssl.SSLSocket) -> str:
    encrypted.settimeout(_HANG_UP_S)
    try:
        if encrypted.recv(1) == b"":
            return "it hangs up after the TLS handshake; does it want a client certificate (tls_certificate_path)?"
    except TimeoutError:
        return ""
    except OSError as error:
        return _tls_failure(error)
    return "it talks first, which no Kafka broker does; check the port"


def _tls_failure(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is refused ({error.verify_message.rstrip('.')}); check tls_ca_path, and that "
            "transport.kafka.servers names the host as the certificate does"
        )
    text = (getattr(error, "reason", None) or str(error)).replace("_", " ").lower()
    if "certificate required" in text or "handshake failure" in text:
        return f"it refuses us without a client certificate ({text}); set tls_certificate_path and tls_key_path"
    if "alert" in text and ("unknown ca" in text or "certificate" in text):
        return f"it refuses our client certificate ({text}); check who signed tls_certificate_path"
    return f"the TLS handshake failed ({text}); does this port speak TLS?"


def _connected(server: str) -> socket.socket:
    return socket.create_connection((_host(server), int(server.rpartition(":")[2])), _KNOCK_S)


def _host(server: str) -> str:
    return server.rpartition(":")[0].strip("[]")
