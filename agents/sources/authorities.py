"""Whom an agent that asks others over TLS believes: the system's authorities, or those of a file alone."""

import ssl


def trusting(ca_path: str) -> ssl.SSLContext:
    """For clients, which check certificate and name; "": the system's authorities. OSError: the file is of no use."""
    return ssl.create_default_context(cafile=ca_path or None)
