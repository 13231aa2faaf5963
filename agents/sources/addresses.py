"""On which addresses a source of an entry will listen, and whether it could: tried without keeping any of them."""

import errno
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from agents.errors import SourceError
from agents.sources.configs import DatagramsConfig, OtlpConfig, ProbesConfig, RequestsConfig, SourceConfig, StatsdConfig
from agents.sources.listening import listening_address

_KINDS: Final = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


@dataclass(frozen=True, slots=True)
class Address:
    """HOST:PORT, or the path of a Unix datagram socket."""

    kind: Literal["tcp", "udp", "unix"]
    at: str

    def __str__(self) -> str:
        return f"{self.kind} {self.at}"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why nobody can listen there; `taken`: because somebody does."""

    reason: str
    taken: bool = False


def addresses_of(entry: SourceConfig) -> list[Address]:
    """All addresses, none for a source that does not listen."""
    match entry:
        case DatagramsConfig():
            found = [Address("unix", entry.path)]
        case StatsdConfig():
            found = [Address("udp", entry.listen), Address("unix", entry.socket_path)]
        case OtlpConfig() | ProbesConfig():
            found = [Address("tcp", entry.listen)]
        case RequestsConfig():
            found = [Address("tcp", entry.listen), Address("udp", entry.listen_udp)]
        case _:
            found = []
    return [address for address in found if address.at]


def places_of(entry: SourceConfig) -> frozenset[str]:
    """What only one source at a time can have: paths, and ports, whose address may contain another's."""
    return frozenset(place for address in addresses_of(entry) if (place := _place(address)))


def trouble_with(address: Address) -> Trouble | None:
    """What keeps a program of this user from listening there now; None when nothing does."""
    return _path_trouble(Path(address.at)) if address.kind == "unix" else _port_trouble(address)


def _place(address: Address) -> str:
    if address.kind == "unix":
        return str(Path(address.at).absolute())
    port = address.at.rpartition(":")[2]
    return "" if port == "0" else f"{address.kind} :{port}"  # the system finds one that is free


def _port_trouble(address: Address) -> Trouble | None:
    kind = _KINDS[address.kind]
    try:
        found = listening_address(address.at, kind)
    except SourceError as error:
        return Trouble(str(error))
    try:
        with socket.socket(found.family, kind) as tried:
            if address.kind == "tcp":  # else connections of a server that has just ended would keep it taken
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((found.host, found.port))
    except OSError as error:
        return Trouble(f"{error.strerror or error}", taken=error.errno == errno.EADDRINUSE)
    return None


def _path_trouble(path: Path) -> Trouble | None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as knock:
        try:
            knock.connect(str(path))
        except ConnectionRefusedError:  # a stale one, which is replaced
            pass
        except FileNotFoundError:
            pass
        except OSError as error:
            return Trouble(f"{error.strerror or error}")
        else:
            return Trouble("another process listens there", taken=True)
    if not path.parent.is_dir():
        return Trouble(f"there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return Trouble(f"this user may not make files in {path.parent}")
    return None
