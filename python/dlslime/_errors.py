# SPDX-License-Identifier: BSD-3-Clause
"""Exceptions: OSErrors with the errno of the C library and its sentence."""

import errno as _errno

__all__ = [
    "Error", "TimeoutError", "NotConnected", "PeerGone", "Unreachable", "AccessDenied",
    "OutOfRange", "Cancelled", "Unsupported", "MessageTooLong", "ProtocolError", "ForkError",
]

_OSTimeout = TimeoutError


class Error(OSError):
    """What went wrong in the library: `errno` and one sentence in `strerror`."""

    def __str__(self):
        return self.strerror or ""


class TimeoutError(Error, _OSTimeout):
    """Not yet (ETIMEDOUT: wait again), or the transfer's own deadline passed (ETIME)."""


class NotConnected(Error, ConnectionError):
    """The endpoint is not connected."""


class PeerGone(Error, ConnectionResetError):
    """The peer went away; make a new endpoint on both sides."""


class Unreachable(Error, ConnectionError):
    """Nobody answers there."""


class AccessDenied(Error, PermissionError):
    """The region does not allow it, or is gone."""


class OutOfRange(Error, ValueError):
    """A segment leaves its region; nothing was moved."""


class Cancelled(Error):
    """The transfer was cancelled, or its endpoint closed under it."""


class Unsupported(Error):
    """No such transport, device or function here."""


class MessageTooLong(Error):
    """A message is longer than the receive that it met."""


class ProtocolError(Error):
    """Bytes from a stranger or from a version that this one cannot talk to."""


class ForkError(RuntimeError):
    """The object was made by the parent of this process."""


_class_of = {
    _errno.ETIMEDOUT: TimeoutError,
    _errno.ETIME: TimeoutError,
    _errno.ENOTCONN: NotConnected,
    _errno.ECONNRESET: PeerGone,
    _errno.ECONNREFUSED: Unreachable,
    _errno.EHOSTUNREACH: Unreachable,
    _errno.EACCES: AccessDenied,
    _errno.ERANGE: OutOfRange,
    _errno.ECANCELED: Cancelled,
    _errno.ENODEV: Unsupported,
    _errno.EOPNOTSUPP: Unsupported,
    _errno.EMSGSIZE: MessageTooLong,
    _errno.EPROTO: ProtocolError,
}

# Submissions and completions carry a number only: include/slime/ep.h says what it means there.
_sentences = {
    _errno.EINVAL: "a region is missing, closed, of another context, or of another endpoint",
    _errno.ENOMEM: "no memory",
    _errno.EAGAIN: "too many transfers in flight",
    _errno.EBUSY: "its last post has not completed",
    _errno.ETIMEDOUT: "not completed in the time given to wait; it goes on",
    _errno.ETIME: "its deadline passed",
    _errno.ENOTCONN: "the endpoint is not connected",
    _errno.ECONNRESET: "the peer went away",
    _errno.EHOSTUNREACH: "the fabric gave up trying to reach the peer",
    _errno.EACCES: "the peer's region does not allow it, or is gone",
    _errno.ERANGE: "a segment leaves its region",
    _errno.ECANCELED: "cancelled, or the endpoint was closed",
    _errno.EOPNOTSUPP: "the transport cannot do that",
    _errno.EMSGSIZE: "the message is longer than the receive that it met",
    _errno.EPROTO: "the peer sent what this version does not understand",
    _errno.EREMOTEIO: "the peer failed while serving it",
    _errno.EFAULT: "memory of one side is not mapped any more",
}


def make(code, text):
    """The exception for a negative errno and a sentence."""
    return _class_of.get(-code, Error)(-code, text)


def of_transfer(code, what):
    """The exception for the status of the transfer WHAT."""
    import os

    return make(code, f"{what}: {_sentences.get(-code) or os.strerror(-code).lower()}")
