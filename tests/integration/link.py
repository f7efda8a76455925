# SPDX-License-Identifier: BSD-3-Clause
"""Two network namespaces and a link between them that delays and loses packets.

Where the kernel has netem, that does it. Elsewhere the link is this process: each
namespace has one end of a TAP device, and a thread carries the frames across,
late or not at all. Both need the right to make namespaces.
"""

import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import subprocess
import threading
import time

import pytest

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000


def ip(*args):
    done = subprocess.run(["ip", *args], capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"ip {' '.join(args)}: {done.stderr.strip()}")


class Link:
    """Namespaces with the addresses 10.77.0.1 and 10.77.0.2. Use it with 'with'.

    lose() changes what is lost, from nothing (0) to all of it (1), while the link is up.
    """

    def __init__(self, delay_ms=0, loss=0.0):
        self.delay_s = delay_ms / 1000
        self.loss = loss
        tag = f"sl{os.getpid() % 100000}"
        self.names = [f"{tag}a", f"{tag}b"]
        self.down = False

    def exec(self, side):
        """The words that put a command into namespace SIDE."""
        return ["ip", "netns", "exec", self.names[side]]

    def __enter__(self):
        try:
            for name in self.names:
                ip("netns", "add", name)
                ip("-n", name, "link")  # not in a chroot whose root is no mount
        except (OSError, FileNotFoundError) as err:
            self.remove_namespaces()
            pytest.skip(f"network namespaces cannot be made and entered here: {err}")
        try:
            self.connect()
            for side, name in enumerate(self.names):
                ip("-n", name, "addr", "add", f"10.77.0.{side + 1}/24", "dev", self.device(side))
                ip("-n", name, "link", "set", self.device(side), "up")
                ip("-n", name, "link", "set", "lo", "up")
            self.begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc):
        self.end()
        self.remove_namespaces()

    def remove_namespaces(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)

    def device(self, side):
        return f"{self.names[side]}0"


class NetemLink(Link):
    """Carried and spoilt by the kernel."""

    def connect(self):
        a, b = self.device(0), self.device(1)
        ip("-n", self.names[0], "link", "add", a, "type", "veth", "peer", "name", b)
        ip("-n", self.names[0], "link", "set", b, "netns", self.names[1])

    def netem(self, verb):
        for side, name in enumerate(self.names):
            done = subprocess.run(
                ["tc", "-n", name, "qdisc", verb, "dev", self.device(side), "root", "netem",
                 "delay", f"{self.delay_s * 1000}ms", "loss", f"{self.loss * 100}%"],
                capture_output=True, text=True,
            )
            if done.returncode:
                pytest.skip(f"this kernel has no netem: {done.stderr.strip()}")

    def begin(self):
        self.netem("add")

    def lose(self, loss):
        self.loss = loss
        self.netem("change")

    def cut(self):
        ip("-n", self.names[0], "link", "set", self.device(0), "down")

    def end(self):
        pass  # the devices go with their namespaces


class TapLink(Link):
    """Carried and spoilt by a thread of this process."""

    def connect(self):
        self.fds = []
        for side, name in enumerate(self.names):
            try:
                fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as err:
                pytest.skip(f"no TAP devices here: {err}")
            self.fds.append(fd)
            fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", self.device(side).encode(), IFF_TAP | IFF_NO_PI))
            ip("link", "set", self.device(side), "netns", name)

    def begin(self):
        self.stop_r, self.stop_w = os.pipe()
        self.carried = self.lost = 0
        self.thread = threading.Thread(target=self.carry, daemon=True)
        self.thread.start()

    def take(self, fd, to, late, order):
        """All frames that wait at FD, into the queue LATE."""
        while True:
            try:
                frame = os.read(fd, 65536)
            except (BlockingIOError, OSError):
                return
            if self.down or random.random() < self.loss:
                self.lost += 1
            else:
                heapq.heappush(late, (time.monotonic() + self.delay_s, next(order), to, frame))

    def give(self, late):
        """All frames whose time has come."""
        while late and late[0][0] <= time.monotonic():
            _, _, to, frame = heapq.heappop(late)
            try:
                os.write(to, frame)
                self.carried += 1
            except OSError:
                self.lost += 1

    def carry(self):
        a, b = self.fds
        late, order = [], itertools.count()
        while True:
            wait = max(0, late[0][0] - time.monotonic()) if late else None
            ready = select.select([a, b, self.stop_r], [], [], wait)[0]
            if self.stop_r in ready:
                return
            if a in ready:
                self.take(a, b, late, order)
            if b in ready:
                self.take(b, a, late, order)
            self.give(late)

    def lose(self, loss):
        self.loss = loss

    def cut(self):
        self.down = True

    def end(self):
        if hasattr(self, "thread"):
            os.write(self.stop_w, b"x")
            self.thread.join()
            os.close(self.stop_r)
            os.close(self.stop_w)
        for fd in getattr(self, "fds", []):
            os.close(fd)
