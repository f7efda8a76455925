# SPDX-License-Identifier: BSD-3-Clause
# From what a user says to struct slime_seg: no Python object per segment where arrays are given.

cdef enum:
    FEW = 4           # segments that need no allocation
    KEPT = 131072     # segments of one batch that are kept for the next: 8 MiB

# Fresh pages cost more than what is written into them, so one large array is used again.
cdef slime_seg *spare = NULL
cdef size_t spare_n = 0


cdef class Batch:
    """Segments, and the regions that they use. A transfer holds one until it is over."""

    cdef slime_seg *segs
    cdef size_t n, cap
    cdef slime_seg few[FEW]
    cdef Region region          # of all segments, if it is one
    cdef RemoteRegion remote
    cdef list others            # the further ones
    cdef bint reads             # bytes come in: no read-only memory
    cdef bint held

    def __dealloc__(self):
        global spare, spare_n
        cdef slime_seg *segs = self.segs
        if segs == self.few:
            return
        if spare_n < self.cap <= KEPT:
            spare, segs = segs, spare
            spare_n = self.cap
        PyMem_RawFree(segs)

    cdef int room(self, size_t n) except -1:
        """Place for N segments, which are not zeroed."""
        global spare, spare_n
        self.segs = self.few
        if n > <size_t>(INT64_MAX / sizeof(slime_seg)):
            raise MemoryError()
        if FEW < n <= spare_n:
            self.segs, self.cap = spare, spare_n
            spare, spare_n = NULL, 0
        elif n > FEW:
            self.segs = <slime_seg *>PyMem_RawMalloc(n * sizeof(slime_seg))
            if not self.segs:
                self.segs = self.few
                raise MemoryError()
            self.cap = n
        self.n = n
        return 0

    cdef slime_mr *local(self, Region r) except NULL:
        if r is not self.region:
            r.check()
            if self.reads and r.readonly:
                raise ValueError("the region is read-only memory: nothing can be read into it")
            if self.region is None:
                self.region = r
            else:
                self.keep(r)
        return r.p

    cdef slime_rmr *peer(self, RemoteRegion r) except NULL:
        if r is not self.remote:
            if not r.p:
                raise ValueError("the peer's region is closed")
            if self.remote is None:
                self.remote = r
            else:
                self.keep(r)
        return r.p

    cdef keep(self, r):
        if self.others is None:
            self.others = [r]
        elif self.others[len(self.others) - 1] is not r:
            self.others.append(r)

    cdef void hold(self):
        """In flight from here on: closed regions keep their buffers until drop()."""
        if self.held:
            return
        self.held = True
        if self.region is not None:
            self.region.used()
        if self.others is not None:
            for r in self.others:
                if isinstance(r, Region):
                    (<Region>r).used()

    cdef void drop(self):
        if not self.held:
            return
        self.held = False
        if self.region is not None:
            self.region.unused()
        if self.others is not None:
            for r in self.others:
                if isinstance(r, Region):
                    (<Region>r).unused()


cdef Region local_of(object what, uint64_t *off, uint64_t *nbytes):
    cdef Region r
    if isinstance(what, Region):
        r = what
        off[0] = 0
        nbytes[0] = r.nbytes
        return r
    if isinstance(what, Span):
        off[0] = (<Span>what).off
        nbytes[0] = (<Span>what).nbytes
        return (<Span>what).region
    raise TypeError(f"the local side is {type(what).__name__}, not a Region or a slice of one; "
                    "dlslime.register(buffer) makes it one")


cdef RemoteRegion remote_of(object what, uint64_t *off, uint64_t *nbytes):
    """NBYTES is UINT64_MAX where the region's length is not known."""
    if isinstance(what, RemoteRegion):
        off[0] = 0
        nbytes[0] = UINT64_MAX
        return what
    if isinstance(what, RemoteSpan):
        off[0] = (<RemoteSpan>what).off
        nbytes[0] = (<RemoteSpan>what).nbytes
        return (<RemoteSpan>what).region
    raise TypeError(f"the remote side is {type(what).__name__}, not a RemoteRegion or a slice of "
                    "one; Endpoint.import_region(exported) gives one")


cdef uint64_t length_of(uint64_t mine, uint64_t theirs, object length) except? 0xFFFFFFFFFFFFFFFF:
    if length is not None:
        return u64(length, "length")
    if theirs != UINT64_MAX and theirs != mine:
        raise ValueError(f"{mine} bytes here and {theirs} bytes there: slices of one length are "
                         "needed, or length=")
    return mine


cdef class Numbers:
    """Integers from the user: a number for all, an array of 64-bit integers, or a list."""

    cdef Py_buffer view
    cdef bint has_view
    cdef object kept
    cdef const char *at
    cdef Py_ssize_t step, n   # n < 0: one number, for all
    cdef uint64_t one

    def __cinit__(self):
        self.n = -1

    def __dealloc__(self):
        if self.has_view:
            PyBuffer_Release(&self.view)


cdef int take_array(object what, Py_buffer *view, int ndim, str name) except -1:
    """A view of 64-bit integers; the caller releases it."""
    cdef const char *f
    try:
        PyObject_GetBuffer(what, view, PyBUF_FORMAT | PyBUF_ND | PyBUF_STRIDES)
    except (BufferError, ValueError) as e:
        raise ValueError(f"{name} cannot be read as an array: {e}") from None
    f = view.format
    if f and f[0] in (b"<", b"=", b"@"):
        f += 1
    if view.ndim != ndim or view.itemsize != 8 or not f or f[0] not in (b"l", b"L", b"q", b"Q") \
            or f[1]:
        shape = tuple([view.shape[i] for i in range(view.ndim)]) if view.shape else ()
        text = (view.format or b"B").decode()
        PyBuffer_Release(view)
        raise TypeError(f"{name} is an array of shape {shape} and type '{text}': "
                        f"{ndim} dimension{'s' if ndim > 1 else ''} of int64 or uint64 are needed")
    return 0


cdef object as_buffer(object what):
    """Tensors of torch are no buffers, but give one."""
    if PyObject_CheckBuffer(what) or not getattr(what, "ndim", 0) or not hasattr(what, "__array__"):
        return what
    return what.__array__()


cdef Numbers numbers(object what, str name):
    cdef Numbers a = Numbers.__new__(Numbers)
    cdef Py_ssize_t i
    if not PyLong_CheckExact(what):
        what = as_buffer(what)
    if isinstance(what, (list, tuple)):
        from array import array
        what = array("Q", [u64(v, name) for v in what])
    elif not PyObject_CheckBuffer(what) or getattr(what, "ndim", 1) == 0:
        a.one = u64(what, name)
        a.at = <const char *>&a.one
        return a
    take_array(what, &a.view, 1, name)
    a.has_view = True
    a.at = <const char *>a.view.buf
    a.n = a.view.shape[0]
    a.step = a.view.strides[0]
    if a.view.format[strlen(a.view.format) - 1] in (b"l", b"q"):
        for i in range(a.n):
            if <int64_t>at(a.at, i, a.step) < 0:
                raise ValueError(f"{name}[{i}] is {<int64_t>at(a.at, i, a.step)}: it cannot be "
                                 "negative")
    return a


cdef Batch batch_of(bint reads, local, remote, segments, length, local_offsets, remote_offsets,
                    count, local_stride, remote_stride):
    """One of the four ways to name pieces; see Endpoint.read()."""
    cdef Batch b = Batch.__new__(Batch)
    cdef bint offsets = local_offsets is not None or remote_offsets is not None
    b.reads = reads
    b.segs = b.few
    if remote is None:
        if segments is not None or offsets or count is not None or length is not None:
            raise TypeError("the remote side is missing")
        fill_pairs(b, local)
    elif segments is not None:
        if offsets or count is not None or length is not None:
            raise TypeError("segments= says it all: no offsets, length or count beside it")
        fill_segments(b, local, remote, segments)
    elif offsets:
        if count is not None or local_offsets is None or remote_offsets is None:
            raise TypeError("local_offsets and remote_offsets come together, and without count")
        fill_offsets(b, local, remote, local_offsets, remote_offsets, length)
    else:
        fill_one(b, local, remote, length, count, local_stride, remote_stride)
    return b


cdef fill_one(Batch b, local, remote, length, count, local_stride, remote_stride):
    cdef slime_seg *s
    cdef uint64_t mine, theirs
    cdef Region r
    cdef RemoteRegion p
    b.room(1)
    s = b.segs
    memset(s, 0, sizeof(slime_seg))
    r = local_of(local, &s.local_off, &mine)
    p = remote_of(remote, &s.remote_off, &theirs)
    s.local = b.local(r)
    s.remote = b.peer(p)
    if count is None:
        s.len = length_of(mine, theirs, length)
        check_inside(s.len, mine, theirs)
        return
    if length is None:
        raise TypeError("count= pieces of what length? length= is missing")
    s.len = u64(length, "length")
    s.count = u64(count, "count")
    if not s.count:
        b.n = 0
        return
    s.local_stride = u64(local_stride, "local_stride")
    s.remote_stride = u64(remote_stride, "remote_stride")
    check_inside(reach(s.len, s.count, s.local_stride), mine, UINT64_MAX)
    check_inside(reach(s.len, s.count, s.remote_stride), UINT64_MAX, theirs)


cdef uint64_t reach(uint64_t length, uint64_t count, uint64_t stride) noexcept:
    """The end of the last of COUNT pieces, UINT64_MAX if that is further than numbers go."""
    if stride and count - 1 > (UINT64_MAX - length) / stride:
        return UINT64_MAX
    return (count - 1) * stride + length


cdef inline int check_inside(uint64_t end, uint64_t mine, uint64_t theirs) except -1:
    if end > mine or end > theirs:
        raise _errors.make(-ERANGE, f"{end} bytes leave the {'local' if end > mine else 'remote'} slice "
                                f"of {mine if end > mine else theirs}")
    return 0


cdef fill_pairs(Batch b, pairs):
    cdef slime_seg *s
    cdef uint64_t mine, theirs
    cdef Py_ssize_t i
    cdef Region r
    cdef RemoteRegion p
    if not isinstance(pairs, (list, tuple)):
        raise TypeError("without a remote side a list of (local, remote) pairs is needed, not "
                        f"{type(pairs).__name__}")
    b.room(len(pairs))
    for i, pair in enumerate(pairs):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise TypeError(f"element {i} is not a (local, remote) pair")
        s = &b.segs[i]
        memset(s, 0, sizeof(slime_seg))
        r = local_of(pair[0], &s.local_off, &mine)
        p = remote_of(pair[1], &s.remote_off, &theirs)
        s.local = b.local(r)
        s.remote = b.peer(p)
        s.len = length_of(mine, theirs, None)


cdef fill_segments(Batch b, local, remote, segments):
    """(local_off, remote_off, length) each: a list of tuples, or an array of shape (n, 3)."""
    cdef uint64_t local_off, remote_off, mine, theirs
    cdef Region r = local_of(local, &local_off, &mine)
    cdef RemoteRegion p = remote_of(remote, &remote_off, &theirs)
    cdef slime_mr *mr = b.local(r)
    cdef slime_rmr *rmr = b.peer(p)
    cdef Py_ssize_t i
    cdef Py_buffer view
    cdef slime_seg *s
    if isinstance(segments, (list, tuple)):
        b.room(len(segments))
        for i in range(<Py_ssize_t>b.n):
            t = segments[i]
            if not isinstance(t, (list, tuple)) or len(t) != 3:
                raise TypeError(f"segment {i} is not (local_off, remote_off, length)")
            s = &b.segs[i]
            set_seg(s, mr, rmr, u64(t[0], "local_off"), u64(t[1], "remote_off"),
                    u64(t[2], "length"))
            add_offsets(s, i, local_off, mine, remote_off, theirs)
        return
    segments = as_buffer(segments)
    if not PyObject_CheckBuffer(segments):
        raise TypeError("segments is a list of (local_off, remote_off, length) or an array of shape "
                        f"(n, 3), not {type(segments).__name__}")
    take_array(segments, &view, 2, "segments")
    try:
        if view.shape[1] != 3:
            raise TypeError(f"segments has shape ({view.shape[0]}, {view.shape[1]}), not (n, 3)")
        b.room(view.shape[0])
        for i in range(view.shape[0]):
            s = &b.segs[i]
            set_seg(s, mr, rmr, 0, 0, 0)
            memcpy(&s.local_off, <char *>view.buf + i * view.strides[0], 8)
            memcpy(&s.remote_off, <char *>view.buf + i * view.strides[0] + view.strides[1], 8)
            memcpy(&s.len, <char *>view.buf + i * view.strides[0] + 2 * view.strides[1], 8)
            add_offsets(s, i, local_off, mine, remote_off, theirs)
    finally:
        PyBuffer_Release(&view)


cdef inline void set_seg(slime_seg *s, slime_mr *mr, slime_rmr *rmr, uint64_t local_off,
                         uint64_t remote_off, uint64_t length) noexcept:
    s.local = mr
    s.remote = rmr
    s.local_off = local_off
    s.remote_off = remote_off
    s.len = length
    s.count = 0
    s.local_stride = 0
    s.remote_stride = 0


cdef inline uint64_t at(const char *p, Py_ssize_t i, Py_ssize_t step) noexcept:
    cdef uint64_t v
    memcpy(&v, p + i * step, 8)
    return v


cdef inline int add_offsets(slime_seg *s, Py_ssize_t i, uint64_t local_off, uint64_t mine,
                            uint64_t remote_off, uint64_t theirs) except -1:
    """From offsets in the slices to offsets in the regions."""
    if s.len > mine or s.local_off > mine - s.len or s.len > theirs \
            or s.remote_off > theirs - s.len or s.remote_off > UINT64_MAX - remote_off:
        raise _errors.make(-ERANGE, f"segment {i} (local_off {s.local_off}, remote_off {s.remote_off}, "
                                f"length {s.len}) leaves the region")
    s.local_off += local_off
    s.remote_off += remote_off
    return 0


cdef fill_offsets(Batch b, local, remote, local_offsets, remote_offsets, length):
    cdef uint64_t local_off, remote_off, mine, theirs
    cdef Region r = local_of(local, &local_off, &mine)
    cdef RemoteRegion p = remote_of(remote, &remote_off, &theirs)
    cdef slime_mr *mr = b.local(r)
    cdef slime_rmr *rmr = b.peer(p)
    cdef Numbers lo, ro, ln
    cdef Py_ssize_t i, n, lstep, rstep, nstep
    cdef const char *lp
    cdef const char *rp
    cdef const char *np
    cdef slime_seg *s
    if length is None:
        raise TypeError("offsets of pieces of what length? length= is missing")
    lo = numbers(local_offsets, "local_offsets")
    ro = numbers(remote_offsets, "remote_offsets")
    ln = numbers(length, "length")
    n = max(lo.n, ro.n, ln.n)
    for a, name in ((lo, "local_offsets"), (ro, "remote_offsets"), (ln, "length")):
        if (<Numbers>a).n not in (-1, n):
            raise ValueError(f"{name} has {(<Numbers>a).n} elements, another has {n}")
    n = 1 if n < 0 else n
    b.room(n)
    lp, rp, np = lo.at, ro.at, ln.at
    lstep, rstep, nstep = lo.step, ro.step, ln.step
    for i in range(n):
        s = &b.segs[i]
        set_seg(s, mr, rmr, at(lp, i, lstep), at(rp, i, rstep), at(np, i, nstep))
        add_offsets(s, i, local_off, mine, remote_off, theirs)
