# SPDX-License-Identifier: BSD-3-Clause
# Errors, forks, time, numbers, and the context.

cdef extern from "<pthread.h>" nogil:
    int pthread_atfork(void (*prepare)() noexcept, void (*parent)() noexcept,
                       void (*child)() noexcept)

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int clock_gettime(int clock, timespec *ts)
    enum:
        CLOCK_MONOTONIC

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    enum:
        POLLIN
    int ppoll(pollfd *fds, unsigned long n, const timespec *timeout, const void *mask)

cdef extern from "<sys/eventfd.h>" nogil:
    ctypedef uint64_t eventfd_t
    enum:
        EFD_CLOEXEC, EFD_NONBLOCK
    int eventfd(unsigned count, int flags)
    int eventfd_read(int fd, eventfd_t *count)
    int eventfd_write(int fd, eventfd_t count)

cdef extern from "<unistd.h>" nogil:
    int close(int fd)
    int getpid()
    long syscall(long number)

cdef extern from "<sys/syscall.h>":
    enum:
        SYS_gettid

cdef extern from "<errno.h>":
    enum:
        EAGAIN, ECANCELED, EINVAL, EISCONN, ENOTCONN, EOPNOTSUPP, EPROTO, ERANGE, ETIME, ETIMEDOUT

cdef extern from "Python.h":
    unsigned long long PyLong_AsUnsignedLongLong(object) except? 0xFFFFFFFFFFFFFFFF
    object PyNumber_Index(object)
    bint PyLong_CheckExact(object)

cdef extern from *:
    """
    int sl_built_rdma(void); /* switches.c */
    int sl_built_tcp(void);
    """
    int sl_built_rdma()
    int sl_built_tcp()

cdef int64_t NS = 1_000_000_000
cdef int64_t FOREVER = INT64_MAX
# How long a call into the library may keep a thread from its signals.
cdef int64_t SLICE = 50_000_000

# How many forks lie between the start of the interpreter and this process.
cdef unsigned generation = 0


cdef void count_fork() noexcept nogil:
    global generation
    generation += 1


pthread_atfork(NULL, NULL, count_fork)

cdef object ForkError = _errors.ForkError


cdef fail(int code, slime_error *err):
    """Raise what the library said."""
    raise _errors.make(code, err.text.decode("utf-8", "replace"))


cdef inline int64_t now_ns() noexcept nogil:
    cdef timespec ts
    clock_gettime(CLOCK_MONOTONIC, &ts)
    return <int64_t>ts.tv_sec * NS + ts.tv_nsec


cdef bint runs_handlers() except -1:
    """Whether this is the thread that signal handlers run in."""
    if syscall(SYS_gettid) == getpid():
        return True
    # A program that has its Python in another thread.
    main = getattr(sys.modules.get("threading"), "main_thread", None)
    return main is not None and main().ident == PyThread_get_thread_ident()


cdef int64_t nanoseconds(object seconds, str what) except -1:
    """A time in seconds, None for ever; 0 or more."""
    cdef double s
    if seconds is None:
        return FOREVER
    if isinstance(seconds, bool) or not hasattr(seconds, "__float__"):
        raise TypeError(f"{what} is {type(seconds).__name__}, not a number of seconds or None")
    s = seconds
    if not s >= 0:
        raise ValueError(f"{what} is {seconds!r}: it cannot be negative")
    return FOREVER if s > 9e9 else <int64_t>(s * 1e9)


cdef inline int64_t deadline_after(int64_t ns) noexcept:
    cdef int64_t now
    if ns == FOREVER:
        return FOREVER
    now = now_ns()
    return FOREVER if ns > FOREVER - now else now + ns


cdef uint64_t slow_u64(object value, str what) except? 0xFFFFFFFFFFFFFFFF:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{what} is {type(value).__name__}, not an int")
    try:
        return PyLong_AsUnsignedLongLong(PyNumber_Index(value))
    except OverflowError:
        raise TypeError(f"{what} is {value!r}: it must be in 0..2**64-1") from None


cdef inline uint64_t u64(object value, str what) except? 0xFFFFFFFFFFFFFFFF:
    """An unsigned number from the user; WHAT names it in the TypeError."""
    cdef uint64_t v
    if PyLong_CheckExact(value):
        try:
            return PyLong_AsUnsignedLongLong(value)
        except OverflowError:
            pass
    return slow_u64(value, what)


cdef uint32_t u32(object value, str what, uint32_t most) except? 0xFFFFFFFF:
    cdef uint64_t v = u64(value, what)
    if v > most:
        raise ValueError(f"{what} is {value!r}: at most {most} is possible")
    return <uint32_t>v


def unsigned(value, what):
    """VALUE if it is an int in 0..2**64-1; WHAT names it in the TypeError."""
    return u64(value, what)


def version():
    """Version of the C library inside."""
    return slime_version().decode()


def built():
    """The transports that this build has: a dict of switches."""
    return {"rdma": sl_built_rdma() != 0, "tcp": sl_built_tcp() != 0}


cdef class Context:
    """The root: its thread serves peers. Most programs use the one that `context()` gives."""

    cdef slime_ctx *p
    cdef bint closed
    cdef unsigned gen
    cdef object __weakref__

    def __cinit__(self):
        self.gen = generation

    def __init__(self, *, spin_us=0, peer_timeout_ms=0, cma=True):
        cdef slime_ctx_opts opts
        cdef slime_error err
        cdef int rc
        if self.p:
            raise ValueError("this context is in use")
        memset(&opts, 0, sizeof(opts))
        opts.size = sizeof(opts)
        opts.spin_us = u32(spin_us, "spin_us", 0xFFFFFFFF)
        opts.peer_timeout_ms = u32(peer_timeout_ms, "peer_timeout_ms", 0xFFFFFFFF)
        if not cma:
            opts.flags = SLIME_CTX_NO_CMA
        with nogil:
            rc = slime_ctx_create(&opts, &self.p, &err)
        if rc:
            fail(rc, &err)

    def __dealloc__(self):
        if self.p and self.gen == generation:
            with nogil:
                slime_ctx_destroy(self.p)

    cdef slime_ctx *check(self) except NULL:
        if self.gen != generation:
            raise ForkError("this object was made before fork(), by the parent process; contexts "
                            "do not survive a fork: make everything anew in the child")
        if not self.p:
            raise ValueError("this context was never initialised")
        return self.p

    def devices(self):
        """What each transport could open, or why it could not: a list of dicts."""
        cdef slime_ctx *p = self.check()
        cdef slime_device dev[64]
        cdef int n, i
        with nogil:
            n = slime_ctx_devices(p, dev, 64)
        if n < 0:
            raise _errors.make(n, "the devices cannot be listed")
        return [{
            "transport": dev[i].transport.decode(),
            "name": dev[i].name.decode(),
            "port": dev[i].port,
            "numa": dev[i].numa,
            "bytes_per_s": dev[i].bytes_per_s,
            "usable": dev[i].status == 0,
            "reason": dev[i].reason.decode("utf-8", "replace"),
        } for i in range(min(n, 64))]

    def alloc(self, nbytes, *, huge=False, lock=False, numa=None):
        """Memory that a peer on this host can map."""
        return Memory(nbytes, huge=huge, lock=lock, numa=numa, context=self)

    def register(self, buffer, access=None):
        """Name a buffer's memory for transfers; see `dlslime.register`."""
        return Region(buffer, access, context=self)

    def close(self):
        """Nothing more is made with it. It ends when the last of what was made with it does."""
        self.closed = True

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __repr__(self):
        return f"<dlslime.Context at {<uintptr_t>self.p:#x}>"


cdef Context the_context = None


def context():
    """The context of this process, made at first use; a child of a fork gets its own."""
    global the_context
    if the_context is None or the_context.closed or the_context.gen != generation:
        the_context = Context()
    return the_context


cdef Context context_or_default(object given):
    if given is None:
        return context()
    if not isinstance(given, Context):
        raise TypeError(f"context is {type(given).__name__}, not a dlslime.Context")
    if (<Context>given).closed:
        raise ValueError("this context is closed")
    return given
