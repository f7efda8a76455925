# SPDX-License-Identifier: BSD-3-Clause
# What users hold: Endpoint and Transfer; and Port, which the contract's classes are made of.

cdef object text_or_none(value, str what):
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{what} is {type(value).__name__}, not str")
    return value


def alloc(nbytes, *, huge=False, lock=False, numa=None):
    """Memory that peers on this host map: a buffer, zeroed, fast for every transport."""
    return Memory(nbytes, huge=huge, lock=lock, numa=numa)


def register(buffer, access=None):
    """Name the memory of BUFFER (a buffer, or a tensor with data_ptr()) for transfers."""
    return Region(buffer, access)


cdef class Endpoint:
    """One connection to one peer.

    Both sides create one, swap what `export()` gives, and `connect()`. Local memory is a Region or
    a slice of one, the peer's a RemoteRegion or a slice of one.
    """

    cdef Link link
    cdef object __weakref__

    def __init__(self, transport="auto", *, device=None, depth=0, lanes=0, context=None):
        if self.link is not None:
            raise ValueError("this endpoint is in use")
        text_or_none(transport, "transport")
        text_or_none(device, "device")
        if transport == "auto":
            transport = None
        link = Link.__new__(Link)
        (<Link>link).open(context_or_default(context), transport, device,
                          u32(depth, "depth", 1 << 20), u32(lanes, "lanes", 16))
        self.link = link

    def __del__(self):
        if self.link is not None:
            self.link.close()

    cdef Link check(self):
        if self.link is None:
            raise ValueError("this endpoint was never initialised")
        return self.link

    # ---- set-up

    def export(self):
        """What the peer connects to: bytes with a secret in them, for one peer."""
        return self.check().export()

    def connect(self, exported, timeout=30.0):
        """Connect to the endpoint that EXPORTED describes; the peer does the same, in any order.

        Blocks until the peer is there, at most TIMEOUT seconds: then dlslime.TimeoutError, and it
        goes on in the background; call again. Transfers may be submitted meanwhile and start when
        the peer is there. TIMEOUT 0 only begins.
        """
        cdef Link link = self.check()
        cdef int64_t ns = nanoseconds(timeout, "timeout")
        cdef int64_t deadline = deadline_after(ns)
        if self.begin(exported, ns):
            return
        while link.connect_step(&link.peer, min(SLICE, max(deadline - now_ns(), 0))) == 0:
            PyErr_CheckSignals()
            if now_ns() >= deadline:
                if ns:
                    raise self.late(timeout)
                return

    cdef int begin(self, exported, int64_t ns) except -1:
        """1: connected."""
        if self.link.state == CONNECTED:
            raise _errors.make(-EISCONN, "the endpoint is connected already")
        return self.link.connect(exported, deadline_after(max(ns, connect_limit)))

    cdef late(self, timeout):
        return _errors.make(-ETIMEDOUT, f"the peer did not connect in {timeout} s")

    async def connect_async(self, exported, timeout=30.0):
        """As connect(), without blocking the loop."""
        cdef Link link = self.check()
        cdef int64_t ns = nanoseconds(timeout, "timeout")
        if self.begin(exported, ns) or not ns:
            return
        await link.comes(timeout)
        if link.state != CONNECTED and not link.connect_step(&link.peer, 0):
            raise self.late(timeout)

    def import_region(self, exported):
        """Name a peer's region, from what its Region.export() gave."""
        return self.check().import_region(exported)

    @property
    def connected(self):
        """Whether the peer is there. Does not say that it still is: a transfer tells."""
        cdef Link link = self.check()
        if link.state == CONNECTING and not link.connecting:
            try:
                link.connect_step(&link.peer, 0)
            except _errors.Error:
                pass
        return link.state == CONNECTED

    @property
    def closed(self):
        return self.check().state == CLOSED

    @property
    def info(self):
        """What carries it and why: a dict of transport, device, lanes, reason, peer."""
        return self.check().info()

    # ---- transfers

    def read(self, local, remote=None, segments=None, *, length=None, local_offsets=None,
             remote_offsets=None, count=None, local_stride=0, remote_stride=0, timeout=None,
             fence=False):
        """Bring bytes from the peer's memory. Returns a Future. Pieces are named in one of these ways:

        read(local, remote)                     all of a slice; length= says how much of it
        read(local, remote, segments)           (local_off, remote_off, length) each: a list, or an
                                                array of shape (n, 3)
        read(local, remote, local_offsets=a, remote_offsets=b, length=n)     arrays, or numbers
        read(local, remote, length=n, count=c, local_stride=s, remote_stride=t)
        read([(local, remote), ...])            slices of any regions

        TIMEOUT in seconds is the transfer's own deadline. With FENCE it starts when all before it
        on this endpoint are over.
        """
        cdef Future f = self.check().make(Future, READ)
        f.batch = batch_of(True, local, remote, segments, length, local_offsets, remote_offsets,
                           count, local_stride, remote_stride)
        return self.start(f, timeout, fence)

    def write(self, local, remote=None, segments=None, *, length=None, local_offsets=None,
              remote_offsets=None, count=None, local_stride=0, remote_stride=0, timeout=None,
              fence=False):
        """Put bytes into the peer's memory. Arguments as for read(), also in their order."""
        cdef Future f = self.check().make(Future, WRITE)
        f.batch = batch_of(False, local, remote, segments, length, local_offsets, remote_offsets,
                           count, local_stride, remote_stride)
        return self.start(f, timeout, fence)

    def write_imm(self, imm, local=None, remote=None, segments=None, *, length=None,
                  local_offsets=None, remote_offsets=None, count=None, local_stride=0,
                  remote_stride=0, timeout=None, fence=False):
        """As write(), and then deliver the number IMM (32 bits) to one recv_imm() of the peer."""
        cdef Future f = self.check().make(Future, WRITE_IMM)
        f.imm_value = u32(imm, "imm", 0xFFFFFFFF)
        f.batch = batch_of(False, () if local is None else local, remote, segments, length,
                           local_offsets, remote_offsets, count, local_stride, remote_stride)
        return self.start(f, timeout, fence)

    def recv_imm(self, *, timeout=None):
        """Take the oldest immediate: the result of the Future. `bytes` is what came with it."""
        return self.start(self.check().make(Future, RECV_IMM), timeout, False)

    def send(self, local, *, timeout=None, fence=False):
        """Send a Region, a slice of one, or any buffer, to one recv() of the peer."""
        return self.message(SEND, local, timeout, fence)

    def recv(self, local, *, timeout=None):
        """Receive one message into a Region or a slice of one. The result is its length."""
        return self.message(RECV, local, timeout, False)

    cdef message(self, Kind kind, local, timeout, fence):
        cdef Future f = self.check().make(Future, kind)
        cdef uint64_t off, nbytes
        cdef Region r
        if not isinstance(local, (Region, Span)) and PyObject_CheckBuffer(local):
            local = Region(local, "local", context=self.link.ctx)
        r = local_of(local, &off, &nbytes)
        f.batch = message_of(kind, r, off, nbytes)
        return self.start(f, timeout, fence)

    cdef start(self, Future f, timeout, fence):
        if timeout is not None:
            f.deadline = deadline_after(nanoseconds(timeout, "timeout"))
        if fence:
            f.flags = SLIME_SUBMIT_FENCE
        self.link.submit(f)
        return f

    def prepare(self, direction, local, remote=None, segments=None, *, length=None,
                local_offsets=None, remote_offsets=None, count=None, local_stride=0,
                remote_stride=0):
        """A "read" or "write" that is checked once and posted many times: a Transfer."""
        cdef Transfer t = Transfer.__new__(Transfer)
        cdef slime_error err
        cdef slime_dir way
        cdef slime_ep *ep
        cdef int rc
        cdef Link link = self.check()
        if direction not in ("read", "write"):
            raise ValueError(f"direction is {direction!r}: it is 'read' or 'write'")
        t.batch = batch_of(direction == "read", local, remote, segments, length, local_offsets,
                           remote_offsets, count, local_stride, remote_stride)
        t.link = link
        way = SLIME_DIR_READ if direction == "read" else SLIME_DIR_WRITE
        if t.batch.n > SEGS_MAX:
            raise ValueError(f"{t.batch.n} segments: at most {SEGS_MAX} can be prepared at once")
        ep = link.enter()
        with nogil:
            rc = slime_xfer_prepare(ep, way, t.batch.segs, t.batch.n, &t.xfer, &err)
        link.leave()
        if rc:
            fail(rc, &err)
        return t

    # ---- event loops of your own

    def fileno(self):
        """A descriptor that is readable when transfers may be over; call poll() then."""
        return self.check().fileno()

    def poll(self):
        """See which transfers are over. Does not block."""
        self.check().ctx.check()
        self.link.look()

    # ---- the end

    def close(self):
        """Cancel what is in flight and let go. Any thread, also twice."""
        self.check().close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        self.close()

    def __repr__(self):
        if self.link is None:
            return "<dlslime.Endpoint, never initialised>"
        state = ("new", "connecting", "connected", "failed", "closed")[self.link.state]
        return f"<dlslime.Endpoint, {state}>"


cdef Batch message_of(Kind kind, Region r, uint64_t off, uint64_t nbytes):
    cdef Batch b = Batch.__new__(Batch)
    b.segs = b.few
    b.reads = kind == RECV
    b.room(1)
    set_seg(b.segs, b.local(r), NULL, off, 0, nbytes)
    return b


@cython.no_gc_clear
cdef class Transfer:
    """A prepared transfer. One post at a time; each gives a Future."""

    cdef Link link
    cdef Batch batch
    cdef slime_xfer *xfer

    def __init__(self):
        raise TypeError("transfers are prepared by Endpoint.prepare()")

    def __dealloc__(self):
        if self.xfer and self.link is not None and self.link.ctx.gen == generation:
            with nogil:
                slime_xfer_release(self.xfer)

    def post(self, *, timeout=None, fence=False):
        """Run it. Errno EBUSY while the last post has not completed."""
        cdef Future f
        if not self.xfer:
            raise ValueError("this transfer is closed")
        self.link.ctx.check()
        f = self.link.make(Future, XFER)
        f.xfer = self.xfer
        f.keep = self
        if timeout is not None:
            f.deadline = deadline_after(nanoseconds(timeout, "timeout"))
        if fence:
            f.flags = SLIME_SUBMIT_FENCE
        self.link.submit(f)
        return f

    def close(self):
        """Let go; a post in flight goes on."""
        if self.xfer and self.link.ctx.gen == generation:
            slime_xfer_release(self.xfer)
        self.xfer = NULL

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


# ---- handles: the contract names regions by small numbers

cdef class Table:
    """Handles of one endpoint: local regions (a list that endpoints of a pool share), remote ones."""

    cdef list local, remote   # Region or None; RemoteRegion, bytes to import, or None

    cdef Region region(self, uint64_t handle):
        if handle >= <uint64_t>len(self.local) or self.local[handle] is None:
            raise ValueError(f"memory handle {handle} is not registered here")
        return self.local[handle]

    cdef RemoteRegion peer(self, Link link, uint64_t handle):
        if handle >= <uint64_t>len(self.remote):
            raise ValueError(f"remote memory handle {handle} is not registered here")
        r = self.remote[handle]
        if isinstance(r, RemoteRegion):
            return r
        if r is None:
            raise ValueError(f"remote memory handle {handle} cannot be reached: the peer's entry "
                             "had no 'slime' key; pass the entries of its mr_info() unchanged")
        r = link.import_region(r)
        self.remote[handle] = r
        return r

    cdef Batch batch(self, Link link, bint reads, assign):
        """(mr_key, remote_mr_key, target_offset, source_offset, length) each."""
        cdef Batch b = Batch.__new__(Batch)
        cdef uint64_t last_mine = UINT64_MAX, last_theirs = UINT64_MAX, handle
        cdef slime_mr *mr = NULL
        cdef slime_rmr *rmr = NULL
        cdef Py_ssize_t i
        cdef slime_seg *s
        cdef tuple t
        b.segs = b.few
        b.reads = reads
        b.room(len(assign))
        for i in range(<Py_ssize_t>b.n):
            t = assign[i]
            s = &b.segs[i]
            handle = u64(t[0], "mr_key")
            if handle != last_mine:
                mr = b.local(self.region(handle))
                last_mine = handle
            handle = u64(t[1], "remote_mr_key")
            if handle != last_theirs:
                rmr = b.peer(self.peer(link, handle))
                last_theirs = handle
            set_seg(s, mr, rmr, u64(t[3], "source_offset"), u64(t[2], "target_offset"),
                    u64(t[4], "length"))
        return b


cdef list tuples_of(assign):
    """The assignments as a list of tuples of five, whatever sequences they came as."""
    cdef list out
    cdef Py_ssize_t i
    if type(assign) is list:
        out = assign
        for i in range(len(out)):
            if type(out[i]) is not tuple or len(out[i]) != 5:
                break
        else:
            return out
    if isinstance(assign, (str, bytes)) or not hasattr(assign, "__len__") \
            or not hasattr(assign, "__getitem__"):
        raise TypeError(f"assign is {type(assign).__name__}, not a list of tuples (mr_key, "
                        "remote_mr_key, target_offset, source_offset, length)")
    out = []
    for i, t in enumerate(assign):
        if isinstance(t, (str, bytes)) or not hasattr(t, "__len__") or len(t) != 5:
            raise TypeError(f"assignment {i} is not a tuple (mr_key, remote_mr_key, target_offset, "
                            "source_offset, length)")
        out.append(tuple(t))
    return out


cdef int check_numbers(list assign) except -1:
    """Wrong types are told at once, also when the lookup must wait for the connection."""
    for t in assign:
        for v in <tuple>t:
            u64(v, "an element of an assignment")
    return 0


cdef class Port:
    """A Link with handles. Transfers that fail end as futures; only wrong arguments raise."""

    cdef Link link
    cdef Table table
    cdef object __weakref__

    def __init__(self, Context ctx not None, transport, device, lanes, list local not None):
        self.table = Table.__new__(Table)
        self.table.local = local
        self.table.remote = []
        link = Link.__new__(Link)
        (<Link>link).patient = True
        (<Link>link).open(ctx, transport, device, 0, lanes)
        self.link = link

    def export(self):
        return self.link.export()

    def connect(self, exported):
        """Begin; True if the peer is there already."""
        return self.link.connect(exported, deadline_after(connect_limit)) == 1

    def connect_wait(self, timeout):
        """True when connected, False after TIMEOUT seconds; raises what went wrong."""
        cdef int64_t deadline = deadline_after(nanoseconds(timeout, "timeout"))
        cdef int64_t left
        while self.link.state == CONNECTING:
            left = max(min(deadline - now_ns(), SLICE), 0)
            if self.link.connect_step(&self.link.peer, left):
                break
            PyErr_CheckSignals()
            if now_ns() >= deadline:
                return False
        return self.link.state == CONNECTED

    async def comes(self, timeout):
        """Return when there is news of the connection, or after TIMEOUT seconds."""
        await self.link.comes(timeout)

    @property
    def connected(self):
        if self.link.state == CONNECTING and not self.link.connecting:
            try:
                self.link.connect_step(&self.link.peer, 0)
            except _errors.Error:
                pass
        return self.link.state == CONNECTED

    @property
    def begun(self):
        return self.link.state != NEW

    @property
    def failure(self):
        return self.link.failure

    @property
    def info(self):
        return self.link.info()

    @property
    def remote_count(self):
        return len(self.table.remote)

    def add_remote(self, exported):
        """A new remote handle for what a peer exported, or for nothing that can be reached (None)."""
        self.table.remote.append(exported)
        return len(self.table.remote) - 1

    def set_remote(self, Py_ssize_t handle, exported):
        self.table.remote[handle] = exported

    cdef start(self, Future f, timeout=None):
        if timeout is not None:
            f.deadline = deadline_after(nanoseconds(timeout, "timeout"))
        try:
            self.link.submit(f)
        except _errors.Error as e:
            f.status = -e.errno
            f.why = str(e)
            f.state = HELD
            self.link.finish(f)
        return f

    cdef one_sided(self, type cls, Kind kind, assign, uint32_t imm, note, timeout):
        cdef Future f = self.link.make(cls, kind)
        cdef list tuples = tuples_of(assign)
        f.imm_value = imm
        f.note = note
        if self.link.state == CONNECTED:
            f.batch = self.table.batch(self.link, kind == READ, tuples)
        else:
            check_numbers(tuples)
            f.later = (self.table, list(tuples))
        return self.start(f, timeout)

    def read(self, type cls not None, assign, note=None, timeout=None):
        return self.one_sided(cls, READ, assign, 0, note, timeout)

    def write(self, type cls not None, assign, note=None, timeout=None):
        return self.one_sided(cls, WRITE, assign, 0, note, timeout)

    def write_imm(self, type cls not None, assign, imm, note=None):
        return self.one_sided(cls, WRITE_IMM, assign, <uint32_t>imm, note, None)

    def recv_imm(self, type cls not None, note=None):
        cdef Future f = self.link.make(cls, RECV_IMM)
        f.note = note
        return self.start(f)

    def message(self, type cls not None, bint send, Region region not None, off, nbytes, note=None,
                timeout=None):
        cdef Future f = self.link.make(cls, SEND if send else RECV)
        f.note = note
        f.batch = message_of(f.kind, region, u64(off, "offset"), u64(nbytes, "length"))
        return self.start(f, timeout)

    def failed(self, type cls not None, kind, int status, str why):
        """A future that ended before it began."""
        cdef Future f = self.link.make(cls, <Kind><int>kind)
        f.status = status
        f.why = why
        self.link.finish(f)
        return f

    def poll(self):
        self.link.look()

    def close(self):
        self.link.close()

    @property
    def closed(self):
        return self.link.state == CLOSED

    def __del__(self):
        if self.link is not None:
            self.link.close()
