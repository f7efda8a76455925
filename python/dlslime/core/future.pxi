# SPDX-License-Identifier: BSD-3-Clause
# Futures: one transfer each. Made by a Link, ended by it.

cdef enum Kind:
    READ, WRITE, WRITE_IMM, RECV_IMM, SEND, RECV, XFER

cdef tuple KIND_NAMES = ("read", "write", "write_imm", "recv_imm", "send", "recv", "transfer")

cdef enum State:
    NEVER    # made by hand
    HELD     # not given to the library yet
    RUNNING
    DONE

cdef object running_loop = None


cdef object get_running_loop():
    """The asyncio loop that runs in this thread, or None; does not import asyncio."""
    global running_loop
    if running_loop is None:
        asyncio = sys.modules.get("asyncio.events")
        if asyncio is None:
            return None
        running_loop = asyncio._get_running_loop
    return running_loop()


@cython.no_gc_clear
cdef class Future:
    """A transfer on its way: wait for it, await it, cancel it, or leave it alone.

    Waiting in any number of threads, and awaiting on any asyncio loop, may be mixed. The memory of
    a transfer is quiet once it is done, also when it was cancelled.
    """

    cdef Link link
    cdef Kind kind
    cdef State state
    cdef int32_t status
    cdef uint32_t imm_value
    cdef uint64_t moved
    cdef Batch batch
    cdef slime_xfer *xfer     # of a prepared transfer, which KEEP holds
    cdef object keep
    cdef object later         # makes the batch once connected: link.resolve(later)
    cdef size_t next          # segments given to the library so far
    cdef int64_t deadline
    cdef int64_t began, ended # of a recv_imm, for the contract's traces
    cdef uint32_t flags
    cdef uint32_t parts       # submissions that have not completed
    cdef slime_op *op
    cdef slime_op **ops       # of several submissions
    cdef uint32_t nops
    cdef bint cancelling, posting
    cdef object callbacks
    cdef str why              # the sentence, where the errno's is not enough
    cdef public object _asyncio_future_blocking
    cdef public object note   # for who made the transfer
    cdef object __weakref__

    def __cinit__(self):
        self._asyncio_future_blocking = False

    def __init__(self):
        raise TypeError("futures come from transfers")

    def __dealloc__(self):
        self.release_ops()

    cdef void release_ops(self) noexcept:
        cdef uint32_t i
        if self.link is not None and self.link.ctx.gen == generation:
            slime_op_release(self.op)
            for i in range(self.nops):
                slime_op_release(self.ops[i])
        self.op = NULL
        if self.ops:
            PyMem_RawFree(self.ops)
            self.ops = NULL
            self.nops = 0

    # ---- what happened

    def done(self):
        """Whether it is over, in whatever way. Does not block."""
        if self.state != DONE:
            self.link_of().look()
        return self.state == DONE

    @property
    def bytes(self):
        """Bytes moved, or received; 0 until done."""
        return self.moved

    @property
    def imm(self):
        """The peer's immediate, of a recv_imm that is done; else None."""
        if self.kind != RECV_IMM or self.state != DONE or self.status:
            return None
        return self.imm_value

    @property
    def trace(self):
        """When a recv_imm was asked for and when it was over, in ns; 0 where that is not known."""
        return self.began, self.ended

    cdef Link link_of(self):
        if self.state == NEVER:
            raise ValueError("this future belongs to no transfer")
        self.link.ctx.check()
        return self.link

    cdef error(self):
        if self.why is not None:
            return _errors.make(self.status, self.why)
        return _errors.of_transfer(self.status, KIND_NAMES[self.kind])

    cdef outcome(self):
        if self.status:
            raise self.error()
        return self.imm_value if self.kind == RECV_IMM else self.moved

    def wait(self, timeout=None):
        """Block until it is over. Returns the bytes moved; of recv_imm, the immediate.

        After TIMEOUT seconds: dlslime.TimeoutError, and the transfer goes on. Raises what ended
        the transfer, a subclass of dlslime.Error.
        """
        if self.status_after(timeout) is None:
            raise _errors.of_transfer(-ETIMEDOUT, KIND_NAMES[self.kind])
        return self.outcome()

    cpdef status_after(self, timeout=None):
        """The status, 0 or a negative errno, or None if it is not over after TIMEOUT seconds."""
        if self.state != DONE:
            self.link_of().wait(self, deadline_after(nanoseconds(timeout, "timeout")))
        return self.status if self.state == DONE else None

    def reason(self):
        """One sentence about the failure of a future that is done; else None."""
        return str(self.error()) if self.state == DONE and self.status else None

    def cancel(self, msg=None):
        """Ask it to end. False: it is over already. Otherwise wait for it as ever."""
        if self.done():
            return False
        self.cancelling = True
        self.link.cancel(self)
        return True

    # ---- as asyncio and concurrent.futures have it

    def cancelled(self):
        return self.state == DONE and self.cancelling

    def result(self):
        """The result of a future that is done."""
        if not self.done():
            from asyncio import InvalidStateError
            raise InvalidStateError("the transfer is not over")
        if self.cancelling:
            from asyncio import CancelledError
            raise CancelledError()
        return self.outcome()

    def exception(self):
        """What ended it, or None."""
        if not self.done():
            from asyncio import InvalidStateError
            raise InvalidStateError("the transfer is not over")
        if self.cancelling:
            from asyncio import CancelledError
            raise CancelledError()
        return self.error() if self.status else None

    def get_loop(self):
        loop = get_running_loop()
        if loop is None:
            raise RuntimeError("no asyncio loop runs in this thread; use wait()")
        return loop

    def add_done_callback(self, fn, *, context=None):
        """Call FN with this future when it is over.

        Under a running asyncio loop it is called there; else by the thread that notices, which is
        one of ours if nobody waits.
        """
        if not callable(fn):
            raise TypeError(f"{type(fn).__name__} cannot be called")
        loop = get_running_loop()
        entry = (loop, PyThread_get_thread_ident(), fn, context)
        if self.done():
            self.call(entry)
            return
        if self.callbacks is None:
            self.callbacks = [entry]
        else:
            self.callbacks.append(entry)
        self.link.watch(loop)

    def remove_done_callback(self, fn):
        """Forget FN; returns how often it was there."""
        if not self.callbacks:
            return 0
        kept = [c for c in self.callbacks if c[2] != fn]
        n = len(self.callbacks) - len(kept)
        self.callbacks = kept
        return n

    cdef void call(self, tuple entry) noexcept:
        loop, thread, fn, context = entry
        try:
            if loop is None:
                fn(self)
            elif thread == PyThread_get_thread_ident():
                loop.call_soon(fn, self, context=context)
            elif not loop.is_closed():
                loop.call_soon_threadsafe(fn, self, context=context)
        except BaseException as e:
            sys.unraisablehook(Unraisable(e, fn))

    def __await__(self):
        if not self.done():
            self._asyncio_future_blocking = True
            yield self
        return self.result()

    __iter__ = __await__

    def __repr__(self):
        state = ("made by hand", "held", "running", "done")[self.state]
        return f"<dlslime.{type(self).__name__} of a {KIND_NAMES[self.kind]}, {state}>"


class Unraisable:
    """What sys.unraisablehook wants."""

    def __init__(self, e, fn):
        self.exc_type, self.exc_value, self.exc_traceback = type(e), e, e.__traceback__
        self.err_msg, self.object = "Exception ignored in a callback of a transfer", fn
