# SPDX-License-Identifier: BSD-3-Clause
"""Futures of the contract: wait() returns a status. They can be awaited as any Future."""

import errno

from dlslime import _errors
from dlslime._core import Future

SUCCESS, FAILED = 0, 403
TCP_FAILED, TCP_CLOSED = -1, -3


def _not_yet():
    return _errors.make(-errno.ETIMEDOUT, "not completed in the time given to wait; it goes on")


class _StatusFuture(Future):
    __slots__ = ()

    def wait(self, timeout=None):
        """0, or 403 if it failed; reason() says why."""
        status = self.status_after(timeout)
        if status is None:
            raise _not_yet()
        return FAILED if status else SUCCESS

    def wait_for(self, timeout_seconds):
        """As wait(), or None if it is not over after so many seconds."""
        status = self.status_after(max(timeout_seconds, 0))
        return None if status is None else self.wait()


class SlimeSendFuture(_StatusFuture):
    __slots__ = ()


class SlimeRecvFuture(_StatusFuture):
    __slots__ = ()


class SlimeReadWriteFuture(_StatusFuture):
    __slots__ = ()

    def wait(self, timeout=None):
        """0; raises RuntimeError if it failed, from the exception that says why."""
        status = self.status_after(timeout)
        if not status:
            if status is None:
                raise _not_yet()
            return SUCCESS
        raise RuntimeError("RDMA read/write completion failed") from _errors.make(
            status, self.reason())


class SlimeImmRecvFuture(_StatusFuture):
    __slots__ = ()

    def imm_data(self):
        """The immediate as a signed number of 32 bits; 0 before it came."""
        value = self.imm or 0
        return value - (1 << 32) if value >= 1 << 31 else value

    def time_trace_enabled(self):
        import os

        return os.environ.get("SLIME_WITH_TIME_TRACE", "1") != "0"

    def time_trace_start_ns(self):
        return self.trace[0] if self.time_trace_enabled() else 0

    def time_trace_end_ns(self):
        return self.trace[1] if self.time_trace_enabled() else 0

    def time_trace_elapsed_ns(self):
        start, end = self.time_trace_start_ns(), self.time_trace_end_ns()
        return end - start if start and end else 0


class _TcpFuture(Future):
    __slots__ = ()

    def _map(self, status):
        if status == -errno.ECANCELED:
            return TCP_CLOSED
        if status or (self.note is not None and self.note != self.bytes):
            return TCP_FAILED
        return SUCCESS

    def wait(self, timeout=None):
        """0, -1 if it failed, -3 if the endpoint was shut down; reason() says why."""
        status = self.status_after(timeout)
        if status is None:
            raise _not_yet()
        return self._map(status)

    def wait_for(self, timeout_seconds):
        """As wait(), or None if it is not over after so many seconds."""
        status = self.status_after(max(timeout_seconds, 0))
        return None if status is None else self._map(status)


class SlimeTcpSendFuture(_TcpFuture):
    __slots__ = ()


class SlimeTcpRecvFuture(_TcpFuture):
    __slots__ = ()


class SlimeTcpReadWriteFuture(_TcpFuture):
    __slots__ = ()
