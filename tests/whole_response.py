"""One whole HTTP response off a socket: a server may send head and body in as many pieces as it likes."""

import re
import socket


def whole_response(connection: socket.socket) -> bytes:
    """The next response, not a byte of what follows; b"" when the other side closes first. It has a Content-Length,
    or no body at all."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            return head
        head += byte
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)\r\n", head)
    body = bytearray()
    while length and len(body) < int(length[1]):
        piece = connection.recv(int(length[1]) - len(body))
        assert piece, f"the connection ended after {len(body)} bytes of a body of {int(length[1])}"
        body += piece
    return head + bytes(body)
