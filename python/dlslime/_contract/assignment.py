# SPDX-License-Identifier: BSD-3-Clause
"""OpCode, Assignment, DeviceSignal: plain values of the contract."""

import enum

from dlslime._core import unsigned


class OpCode(enum.IntEnum):
    READ = 0
    WRITE = 1
    SEND = 2
    RECV = 3
    WRITE_WITH_IMM_DATA = 5


def _field(name):
    def get(self):
        return self._values[name]

    def set(self, value):
        self._values[name] = unsigned(value, name)

    return property(get, set)


class Assignment:
    """(mr_key, target_offset, source_offset, length), or with remote_mr_key after mr_key."""

    __slots__ = ("_values",)
    mr_key = _field("mr_key")
    remote_mr_key = _field("remote_mr_key")
    target_offset = _field("target_offset")
    source_offset = _field("source_offset")
    length = _field("length")

    def __init__(self, *args):
        if len(args) == 4:
            args = (args[0], *args)
        if len(args) != 5:
            raise TypeError(f"Assignment takes 4 or 5 numbers, not {len(args)}")
        self._values = {}
        (self.mr_key, self.remote_mr_key, self.target_offset, self.source_offset,
         self.length) = args


class DeviceSignal:
    """Named by the contract; nothing makes one."""

    def __init__(self):
        raise TypeError("dlslime.DeviceSignal: No constructor defined!")

    def wait(self, target_mask):
        raise NotImplementedError("there are no device signals in this version")
