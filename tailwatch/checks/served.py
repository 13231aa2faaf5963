"""Checks of a running API on this machine: does it answer, is it ready, how long is its certificate good."""

import http.client
import json
import socket
import ssl
import time
from typing import Any

from api.config import ApiConfig
from tailwatch.checkup import Finding

_WITHIN_S = 4.0
_EXPIRES_SOON_S = 14 * 86_400
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def check_api(config: ApiConfig) -> list[Finding]:
    """Findings on the API where this configuration has it listen; not running is no fault."""
    if config.port == 0:
        return [Finding("api", "skip", "not checked: api.port is 0, so only its log knows where it listens")]
    bare = config.host.strip("[]")
    host = _ANY.get(bare, bare)
    where = (
        f"{'https' if config.tls_certificate_path else 'http'}://{f'[{host}]' if ':' in host else host}:{config.port}"
    )
    try:
        socket.create_connection((host, config.port), _WITHIN_S).close()
    except ConnectionRefusedError:
        return [Finding("api", "skip", f"not checked: it does not run, nothing listens at {where}")]
    except OSError as error:
        return [Finding("api", "fail", f"{where}: {error.strerror or error}", "check api.host")]
    found: list[Finding] = []
    try:
        context = _trusting(config)
        if context is not None:
            found.append(_certificate(host, config.port, context))
        found.append(_ready(host, config.port, where, context))
    except ssl.SSLError as error:
        text = f"{where}: {getattr(error, 'verify_message', '') or error.reason or error}"
        found.append(
            Finding("api", "fail", text, "check api.tls_certificate_path, and restart the API after a renewal")
        )
    except (OSError, http.client.HTTPException) as error:
        todo = "see what listens there; it answers neither as Tailwatch nor in time"
        found.append(Finding("api", "fail", f"{where}: {str(error) or type(error).__name__}", todo))
    return found


def _trusting(config: ApiConfig) -> ssl.SSLContext | None:
    """A context that trusts exactly the configured certificate: it is to be found running, whoever signed it."""
    if not config.tls_certificate_path:
        return None
    context = ssl.create_default_context(cafile=config.tls_certificate_path)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _certificate(host: str, port: int, context: ssl.SSLContext) -> Finding:
    with (
        socket.create_connection((host, port), _WITHIN_S) as plain,
        context.wrap_socket(plain, server_hostname=host) as encrypted,
    ):
        shown: Any = encrypted.getpeercert()
    until = shown["notAfter"]
    left_s = ssl.cert_time_to_seconds(until) - time.time()
    if left_s < _EXPIRES_SOON_S:
        return Finding("certificate", "warn", f"good until {until}", "renew it, and restart the API")
    return Finding("certificate", "ok", f"good until {until}")


def _ready(host: str, port: int, where: str, context: ssl.SSLContext | None) -> Finding:
    connection = (
        http.client.HTTPConnection(host, port, timeout=_WITHIN_S)
        if context is None
        else http.client.HTTPSConnection(host, port, timeout=_WITHIN_S, context=context)
    )
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        body = answer.read(65_536)
    finally:
        connection.close()
    try:
        checks = json.loads(body)["checks"]
        wrong = [f"{name}: {check['detail']}" for name, check in checks.items() if not check["ok"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        text = f"{where} answers, but not as a Tailwatch API does (status {answer.status})"
        return Finding("api", "fail", text, "another program has the port: set api.port, or stop that one")
    if wrong:
        return Finding("api", "fail", f"{where} runs and is not ready: {'; '.join(wrong)}", "put that right first")
    return Finding("api", "ok", f"{where} runs and is ready")
