"""Addresses to listen on, as configurations write them: HOST:PORT, [HOST]:PORT, :PORT for all interfaces."""

import socket
from typing import NamedTuple

from agents.errors import SourceError

_MAX_PORT = 65_535


class Address(NamedTuple):
    """What `bind` wants, after the socket's family."""

    family: socket.AddressFamily
    host: str
    port: int

    @property
    def shown(self) -> str:
        """As configurations write it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def listening_address(listen: str, kind: socket.SocketKind = socket.SOCK_STREAM) -> Address:
    """The address that `listen` names; an empty host is every interface.

    Raises:
        SourceError: a port above 65535, or a name that is no address of any host.
    """
    host, _, digits = listen.rpartition(":")
    host, port = host.strip("[]") or "0.0.0.0", int(digits)  # the operator wrote no host
    if port > _MAX_PORT:
        raise SourceError(f"listen {listen!r}: port {port}; the highest is {_MAX_PORT}")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise SourceError(
            f"listen {listen!r}: {host!r} is no address: {error}; write an address of this host"
        ) from error
    return Address(family, str(address[0]), port)
