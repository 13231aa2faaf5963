"""The certificate and key for HTTPS, checked before anything listens."""

import ssl
from pathlib import Path

from api.config import ApiConfig
from api.errors import TlsError


def tls_context(config: ApiConfig) -> ssl.SSLContext | None:
    """TLS 1.2 or newer with the configured certificate; None where none is configured.

    Raises:
        TlsError: a file cannot be used; names the setting.
    """
    if not config.tls_certificate_path:
        return None
    for name, path in (("tls_certificate_path", config.tls_certificate_path), ("tls_key_path", config.tls_key_path)):
        try:
            Path(path).read_bytes()
        except OSError as error:
            raise TlsError(
                f"api.{name}: {path} cannot be read: {error.strerror}; check the path and who may read it"
            ) from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # A callback, because without one a key with a password would make the library ask the terminal for it.
        context.load_cert_chain(config.tls_certificate_path, config.tls_key_path, lambda: "")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = (getattr(error, "reason", None) or str(error)).replace("_", " ").lower()
        raise TlsError(
            f"api.tls_key_path: {config.tls_key_path} cannot be used with {config.tls_certificate_path} ({reason}); "
            "want the key of that certificate in PEM, without a password"
        ) from error
    return context
