# SPDX-License-Identifier: BSD-3-Clause
"""How two TcpEndpoints that know a host and a port swap what the library's endpoints export.

One line of JSON each way, then the connection is closed:

    caller   {"dlslime": 1, "id": <who I am>, "slime": <base64>}
    server   {"dlslime": 1, "id": <who I am>, "slime": <base64>}      a new session
             {"dlslime": 1, "id": ..., "wait": true}                  I am calling you: that one counts
             {"dlslime": 1, "id": ..., "known": true}                 we have a session

No region can be reached by what is swapped here: each has a secret of its own in mr_info.
"""

import json
import socket

_LINE_MOST = 1 << 16
_PATIENCE_S = 10


class Stranger(Exception):
    """The other side does not speak this."""


def _send(sock, document):
    sock.sendall(json.dumps({"dlslime": 1, **document}).encode() + b"\n")


def _receive(sock):
    data = b""
    while not data.endswith(b"\n"):
        more = sock.recv(4096)
        if not more:
            raise Stranger("it closed the connection")
        if not data and more[:1] != b"{":
            raise Stranger("it speaks another protocol, perhaps that of DLSlime 0.1.23")
        data += more
        if len(data) > _LINE_MOST:
            raise Stranger("it sent too much")
    try:
        document = json.loads(data)
    except ValueError:
        raise Stranger("it sent what is not JSON") from None
    if not isinstance(document, dict) or document.get("dlslime") != 1 \
            or not isinstance(document.get("id"), str):
        raise Stranger("it speaks another version")
    return document


def listen(ip, port):
    """A listening socket on an address given as a literal; RuntimeError says what is wrong."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    try:
        socket.inet_pton(family, ip)
    except OSError:
        raise RuntimeError("Invalid argument") from None
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((ip, port))
        sock.listen(64)
    except OSError as e:
        sock.close()
        raise RuntimeError(f"cannot listen on {ip} port {port}: {e.strerror}") from e
    return sock


def call(host, port, document):
    """Swap documents with who listens there. OSError: nobody; Stranger: somebody else."""
    if host in ("", "0.0.0.0"):
        host = "127.0.0.1"
    elif host == "::":
        host = "::1"
    with socket.create_connection((host, port), _PATIENCE_S) as sock:
        sock.settimeout(_PATIENCE_S)
        _send(sock, document)
        return _receive(sock)


def serve(sock, answer):
    """Answer callers one after the other until SOCK is shut down."""
    while True:
        try:
            caller, _ = sock.accept()
        except OSError:
            return
        with caller:
            try:
                caller.settimeout(_PATIENCE_S)
                _send(caller, answer(_receive(caller)))
            except (OSError, Stranger, ValueError, TypeError, RuntimeError):
                pass   # a stranger, or one who went away: the next one
