# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of nanoctrl share: a daemon of one's own, and requests to it, also bad ones."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

BIN = Path(os.environ["DLSLIME_BIN"])
DEADLINE_S = 30
JSON = {"Content-Type": "application/json"}

# What the tests ask most.
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
ENTITY = {"entity_id": "cache:0", "kind": "cache"}
BEAT = {"entity_type": "service", "entity_id": "cache:0"}

if not (BIN / "nanoctrl").exists():
    pytest.skip("this build has no nanoctrl (BUILD_CTRL)", allow_module_level=True)


def wait_until(what, happened, timeout=DEADLINE_S):
    """Poll HAPPENED until it returns something true."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        value = happened()
        if value:
            return value
        time.sleep(0.005)
    raise AssertionError(f"waited {timeout} s for {what}")


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.body[:200]!r}"


class Daemon:
    """A nanoctrl in the foreground, on a port of its own; ended, or killed, with the block."""

    def __init__(self, directory, *args, name="nanoctrl", db=":memory:", port="0", env=None, **popen):
        self.log = Path(directory) / "stderr.txt"
        store = ["--db", str(db)] if db else []
        place = ["--port", port] if port is not None else []
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("NANOCTRL_", "DLSLIME_CTRL_"))}
        with open(self.log, "ab") as log:
            self.popen = subprocess.Popen(
                [BIN / name, *place, *store, *map(str, args)],
                stdout=subprocess.PIPE,
                stderr=log,
                env={**clean, **(env or {})},
                **popen,
            )
        self.pid = self.popen.pid
        line = self.popen.stdout.readline().decode()
        if not line.startswith("ready "):
            self.popen.wait(DEADLINE_S)
            raise AssertionError(f"not ready: {line!r} {self.log.read_text()}")
        self.addresses = line.split()[1:]
        self.url = self.addresses[0]
        match = re.fullmatch(r"https?://(.*):(\d+)", self.url)
        self.host, self.port = (match[1].strip("[]"), int(match[2])) if match else (None, None)
        self.headers = {}

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        self.popen.stdout.close()

    def request(self, method, path, body=None, headers=None, timeout=DEADLINE_S):
        """One request on a connection of its own; BODY may be bytes or what becomes JSON."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        with contextlib.closing(connection):
            return ask(connection, method, path, body, {**self.headers, **(headers or {})})

    def get(self, path, **headers):
        return self.request("GET", path, headers=headers)

    def post(self, path, body, **kwargs):
        return self.request("POST", path, body, **kwargs)

    def connect(self, timeout=DEADLINE_S):
        return socket.create_connection((self.host, self.port), timeout)

    def raw(self, data, timeout=DEADLINE_S):
        """Everything that comes back for DATA until the daemon closes."""
        with self.connect(timeout) as s:
            s.sendall(data)
            return read_all(s)

    def signal(self, number):
        self.popen.send_signal(number)

    def stop(self, timeout=DEADLINE_S):
        """SIGTERM; returns the exit status."""
        self.signal(signal.SIGTERM)
        return self.popen.wait(timeout)

    def alive(self):
        return self.popen.poll() is None and self.get("/healthz").status == 200

    def lines(self):
        return self.log.read_text().splitlines()


class Redis:
    """A redis-server in memory, on a socket of its own; ended with the block."""

    def __init__(self):
        if not shutil.which("redis-server"):
            pytest.skip("redis-server is not installed (apt-get install redis-server)")

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="redis")  # short, as a socket's path must be
        self.path = Path(self.directory.name) / "sock"
        self.url = f"unix://{self.path}"
        args = ["--port", "0", "--unixsocket", self.path, "--save", "", "--dir", self.directory.name]
        self.popen = subprocess.Popen(["redis-server", *map(str, args)], stdout=subprocess.DEVNULL)
        wait_until("Redis to listen", self.listens)
        return self

    def listens(self):
        with socket.socket(socket.AF_UNIX) as s:
            return s.connect_ex(str(self.path)) == 0

    def __exit__(self, *unused):
        self.popen.kill()
        self.popen.wait()
        self.directory.cleanup()

    def command(self, *words):
        """The bytes of the answer, which must be a short one."""
        words = [w.encode() for w in words]
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(DEADLINE_S)
            s.connect(str(self.path))
            s.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
            return s.recv(100)

    def set(self, key, value):
        assert self.command("SET", key, value) == b"+OK\r\n"


def ask(connection, method, path, body=None, headers=None):
    headers = dict(headers or {})
    if body is not None and not isinstance(body, (bytes, str)):
        body = json.dumps(body)
    if body is not None and not any(name.lower() == "content-type" for name in headers):
        headers.update(JSON)
    connection.request(method, path, body, headers)
    reply = connection.getresponse()
    return Answer(reply.status, reply.headers, reply.read())


def post(path, body, *headers):
    """The bytes of a request."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def read_all(s):
    parts = []
    while True:
        try:
            part = s.recv(65536)
        except ConnectionResetError:
            part = b""
        if not part:
            return b"".join(parts)
        parts.append(part)


def read_answer(s, ahead=b""):
    """One answer with a Content-Length from a socket: its status, and its body."""
    data = ahead
    while b"\r\n\r\n" not in data:
        part = s.recv(65536)
        assert part, f"closed after {data!r}"
        data += part
    head, _, rest = data.partition(b"\r\n\r\n")
    length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
    while len(rest) < length:
        part = s.recv(65536)
        assert part, f"closed after {rest!r}"
        rest += part
    return int(head.split()[1]), rest[:length], rest[length:]


def statuses(data):
    """The status codes of the answers in DATA."""
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)]


def free_port():
    """A port that was free a moment ago, for what cannot take 0."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def make_certificates(directory):
    """An authority, and of it a server's and a client's certificate; by the openssl program."""
    directory = Path(directory)

    def openssl(*args):
        done = subprocess.run(["openssl", *args], cwd=directory, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test ca")
    for name in ("server", "client"):
        (directory / "ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key"),
            *("-CAcreateserial", "-days", "2", "-extfile", "ext", "-out", f"{name}.pem"),
        )
    return directory


def tls_context(directory, client=False):
    context = ssl.create_default_context(cafile=str(directory / "ca.pem"))
    if client:
        context.load_cert_chain(directory / "client.pem", directory / "client.key")
    return context
