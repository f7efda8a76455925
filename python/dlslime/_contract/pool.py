# SPDX-License-Identifier: BSD-3-Clause
"""Regions by handle and name, as the contract counts them, and their entries in mr_info()."""

import base64
import binascii
import os
from _thread import allocate_lock

from dlslime import _core, _errors
from dlslime._contract import obs

# What exported regions look like in an entry of mr_info(): our key beside the contract's.
KEY = "slime"

# Entries seen, by (addr, rkey): for programs that pass on the contract's own keys only.
_seen = {}
_SEEN_MOST = 1 << 16


def remember(entry):
    if len(_seen) >= _SEEN_MOST:
        _seen.clear()
    _seen[entry["addr"], entry["rkey"]] = entry[KEY]


def decode(text, what):
    """The bytes of a description that travelled as text."""
    if not isinstance(text, str):
        raise ValueError(f"the '{KEY}' key of {what} is {type(text).__name__}, not str")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"the '{KEY}' key of {what} is not base64") from None


def encode(exported):
    return base64.b64encode(exported).decode()


def exported_of(entry, what):
    """The description in a peer's entry of mr_info(), or None if it is of a stranger."""
    if not isinstance(entry, dict):
        raise TypeError(f"{what} is {type(entry).__name__}, not a dict")
    numbers = []
    for key in ("addr", "length", "rkey"):
        if key not in entry:
            raise ValueError(f"{what} has no '{key}'")
        numbers.append(_core.unsigned(entry[key], f"'{key}' of {what}"))
    text = entry.get(KEY, _seen.get((numbers[0], numbers[2])))
    return None if text is None else decode(text, what)


def text_name(name):
    if not isinstance(name, str):
        raise TypeError(f"name is {type(name).__name__}, not str")
    return name


class Pool:
    """Handles are dense from 0 in the order of registration and are not used again."""

    def __init__(self):
        self.regions = []    # by handle; None where it was unregistered; shared with endpoints
        self.names = {}      # name -> handle
        self._rkeys = []
        self._handles = {}   # address -> handle
        self._lock = allocate_lock()

    def register(self, addr, length, name):
        """A handle, or -1 if the name means another one."""
        with self._lock:
            handle = self._handles.get(addr)
            if name is not None and self.names.get(name, handle) != handle:
                return -1
            if handle is None:
                region = self._new(addr, length, "for")
                handle = len(self.regions)
                self.regions.append(region)
                self._rkeys.append(int.from_bytes(os.urandom(4), "little") | 1)
                self._handles[addr] = handle
                obs.count_region(name, 1, length)
            elif self.regions[handle].nbytes < length:
                old, self.regions[handle] = self.regions[handle], self._new(
                    addr, length, "while re-registering")
                self._rkeys[handle] = int.from_bytes(os.urandom(4), "little") | 1
                obs.count_region(name, 0, length - old.nbytes)
                old.close()
            if name is not None:
                self.names[name] = handle
            return handle

    @staticmethod
    def _new(addr, length, when):
        try:
            return _core.register_address(addr, length)
        except (_errors.Error, ValueError) as e:
            code = getattr(e, "errno", None) or (14 if length else 22)
            raise RuntimeError(f"ibv_reg_mr failed {when} address {addr:#x}: errno={code} "
                               f"({os.strerror(code)}): {e}") from e

    def unregister(self, key):
        """0, or -1 if there is no such region (any more)."""
        with self._lock:
            if isinstance(key, str):
                key = self.names.get(key, -1)
            elif isinstance(key, bool) or not hasattr(key, "__index__"):
                raise TypeError(f"key is {type(key).__name__}, not a handle or a name")
            if not 0 <= key < len(self.regions) or self.regions[key] is None:
                return -1
            region, self.regions[key] = self.regions[key], None
            obs.count_region(None, -1, -region.nbytes)
            self.names = {n: h for n, h in self.names.items() if h != key}
            self._handles = {a: h for a, h in self._handles.items() if h != key}
            region.close()
            return 0

    def find(self, addr, length):
        """A registered region with [addr, addr + length) at its start, or None."""
        handle = self._handles.get(addr)
        if handle is not None:
            region = self.regions[handle]
            if region is not None and region.nbytes >= length:
                return region
        return None

    def info(self):
        """The named regions, as a peer needs them; {} if there are none."""
        with self._lock:
            out = {}
            for name, handle in sorted(self.names.items()):
                region = self.regions[handle]
                out[name] = {"addr": region.addr, "handle": handle, "length": region.nbytes,
                             "rkey": self._rkeys[handle], KEY: encode(region.export())}
                remember(out[name])
            return out
