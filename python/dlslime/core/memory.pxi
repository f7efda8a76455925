# SPDX-License-Identifier: BSD-3-Clause
# Memory that the library allocates, and regions: memory with a name for transfers.

cdef extern from "<sys/mman.h>" nogil:
    int msync(void *addr, size_t len, int flags)
    enum:
        MS_ASYNC

cdef extern from * nogil:
    """
    /* DLPack's structures, as its specification lays them out: before version 1, and since. */
    struct sl_dl_tensor {
        void *data;
        struct { int32_t type, id; } device;
        int32_t ndim;
        struct { uint8_t code, bits; uint16_t lanes; } dtype;
        int64_t *shape, *strides;
        uint64_t byte_offset;
    };
    struct sl_dl_old {
        struct sl_dl_tensor tensor;
        void *owner;
        void (*deleter)(struct sl_dl_old *);
    };
    struct sl_dl_version {
        uint32_t major, minor;
    };
    struct sl_dl_new {
        struct sl_dl_version version;
        void *owner;
        void (*deleter)(struct sl_dl_new *);
        uint64_t flags;
        struct sl_dl_tensor tensor;
    };
    static const int64_t sl_dl_step = 1;
    static void sl_dl_fill(struct sl_dl_tensor *t, void *data, int64_t *n)
    {
        memset(t, 0, sizeof(*t));
        t->data = data;
        t->device.type = 1; /* CPU */
        t->ndim = 1;
        t->dtype.code = 1; /* unsigned */
        t->dtype.bits = 8;
        t->dtype.lanes = 1;
        t->shape = n;
        t->strides = (int64_t *)(uintptr_t)&sl_dl_step;
    }
    """
    struct sl_dl_tensor:
        pass
    struct sl_dl_old:
        sl_dl_tensor tensor
        void *owner
        void (*deleter)(sl_dl_old *) noexcept
    struct sl_dl_version:
        uint32_t major
        uint32_t minor
    struct sl_dl_new:
        sl_dl_version version
        void *owner
        void (*deleter)(sl_dl_new *) noexcept
        uint64_t flags
        sl_dl_tensor tensor
    void sl_dl_fill(sl_dl_tensor *t, void *data, int64_t *n)

cdef const char *DL_OLD = "dltensor"
cdef const char *DL_NEW = "dltensor_versioned"


cdef void dl_delete(void *owner, void *m) noexcept with gil:
    (<Memory>owner).exports -= 1
    Py_DECREF(<object>owner)
    PyMem_RawFree(m)


cdef void dl_old_delete(sl_dl_old *m) noexcept nogil:
    dl_delete(m.owner, m)


cdef void dl_new_delete(sl_dl_new *m) noexcept nogil:
    dl_delete(m.owner, m)


cdef void dl_capsule_gone(object capsule) noexcept:
    """If nobody took the tensor out, it is ours to delete."""
    if PyCapsule_IsValid(capsule, DL_OLD):
        dl_old_delete(<sl_dl_old *>PyCapsule_GetPointer(capsule, DL_OLD))
    elif PyCapsule_IsValid(capsule, DL_NEW):
        dl_new_delete(<sl_dl_new *>PyCapsule_GetPointer(capsule, DL_NEW))


cdef object dl_capsule(Memory memory, bint versioned):
    """The memory as a tensor of bytes. The old form has no word for "writable": who takes it may
    say that it is not."""
    cdef size_t size = sizeof(sl_dl_new) if versioned else sizeof(sl_dl_old)
    cdef void *m = PyMem_RawMalloc(size + sizeof(int64_t))
    cdef int64_t *n
    if not m:
        raise MemoryError()
    memset(m, 0, size)
    n = <int64_t *>(<char *>m + size)
    n[0] = <int64_t>memory.nbytes
    Py_INCREF(memory)
    memory.exports += 1
    if versioned:
        (<sl_dl_new *>m).version.major = 1
        (<sl_dl_new *>m).owner = <void *>memory
        (<sl_dl_new *>m).deleter = dl_new_delete
        sl_dl_fill(&(<sl_dl_new *>m).tensor, memory.p, n)
        return PyCapsule_New(m, DL_NEW, <void (*)(object) noexcept>dl_capsule_gone)
    (<sl_dl_old *>m).owner = <void *>memory
    (<sl_dl_old *>m).deleter = dl_old_delete
    sl_dl_fill(&(<sl_dl_old *>m).tensor, memory.p, n)
    return PyCapsule_New(m, DL_OLD, <void (*)(object) noexcept>dl_capsule_gone)


cdef dict every_memory = {}   # address -> weak reference: a region by address keeps what is ours


@cython.no_gc_clear
cdef class Memory:
    """Zeroed memory that peers on this host map, so that shm moves it without the kernel.

    It is a buffer: `memoryview(m)`, `numpy.asarray(m)`, `torch.from_dlpack(m)`. It goes when the
    last of these does.
    """

    cdef Context ctx
    cdef void *p
    cdef readonly uint64_t nbytes
    cdef int exports
    cdef object __weakref__

    def __init__(self, nbytes, *, huge=False, lock=False, numa=None, context=None):
        cdef slime_mem_opts opts
        cdef slime_error err
        cdef slime_ctx *ctx
        cdef uint64_t n = u64(nbytes, "nbytes")
        cdef int rc
        if self.p:
            raise ValueError("this memory is in use")
        if n > <uint64_t>INT64_MAX:
            raise ValueError(f"nbytes is {n}: no machine has as much memory")
        self.ctx = context_or_default(context)
        ctx = self.ctx.check()
        memset(&opts, 0, sizeof(opts))
        opts.size = sizeof(opts)
        opts.flags = (SLIME_MEM_HUGE if huge else 0) | (SLIME_MEM_LOCK if lock else 0)
        opts.numa = 0 if numa is None else u32(numa, "numa", 1023) + 1
        with nogil:
            rc = slime_mem_alloc(ctx, n, &opts, &self.p, &err)
        if rc:
            fail(rc, &err)
        self.nbytes = n
        every_memory[<uintptr_t>self.p] = weak_ref(self)

    def __dealloc__(self):
        self.free()

    cdef void free(self):
        if self.p:
            every_memory.pop(<uintptr_t>self.p, None)
        if self.p and self.ctx is not None and self.ctx.gen == generation:
            with nogil:
                slime_mem_free(self.ctx.p, self.p)
        self.p = NULL

    def __getbuffer__(self, Py_buffer *view, int flags):
        if not self.p:
            raise BufferError("this memory is closed")
        PyBuffer_FillInfo(view, self, self.p, <Py_ssize_t>self.nbytes, 0, flags)
        self.exports += 1

    def __releasebuffer__(self, Py_buffer *view):
        self.exports -= 1

    def __len__(self):
        return self.nbytes

    @property
    def addr(self):
        """Where it is, as an int."""
        return <uintptr_t>self.p

    def close(self):
        """Give it back now; BufferError while an array, a region or a view of it is alive."""
        if self.exports:
            raise BufferError("an array, a region or a memoryview of this memory is still alive")
        self.free()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        if not self.p:
            raise BufferError("this memory is closed")
        if copy:
            raise BufferError("this memory is not copied: its use is to be shared")
        if dl_device is not None and tuple(dl_device) != (1, 0):
            raise BufferError("this memory is on the CPU only")
        return dl_capsule(self, max_version is not None and tuple(max_version) >= (1, 0))

    def __dlpack_device__(self):
        return (1, 0)

    def __repr__(self):
        return f"<dlslime.Memory of {self.nbytes} bytes at {<uintptr_t>self.p:#x}>"


def is_mapped(addr, nbytes):
    """Whether all of [addr, addr + nbytes) belongs to this process."""
    cdef uint64_t a = u64(addr, "addr")
    cdef uint64_t n = u64(nbytes, "nbytes")
    cdef uint64_t page = a & ~<uint64_t>4095
    if n > UINT64_MAX - a or not a:
        return False
    return msync(<void *><uintptr_t>page, n + (a - page), MS_ASYNC) == 0


cdef dict ACCESS = {
    "": 0, "none": 0, "local": 0,
    "r": SLIME_ACCESS_REMOTE_READ, "read": SLIME_ACCESS_REMOTE_READ,
    "w": SLIME_ACCESS_REMOTE_WRITE, "write": SLIME_ACCESS_REMOTE_WRITE,
    "rw": SLIME_ACCESS_REMOTE_READ | SLIME_ACCESS_REMOTE_WRITE,
}

# Makes a Region or the like without its __init__, for calls of ours.
cdef object INTERNAL = object()


@cython.no_gc_clear
cdef class Region:
    """Memory with a name for transfers. Keeps the buffer; does not copy or touch it.

    `access` is what peers may do: "rw" (the default for writable memory), "r", "w" or "local".
    """

    cdef Context ctx
    cdef slime_mr *p
    cdef Py_buffer view
    cdef bint has_view
    cdef object owner
    cdef bint foreign        # nobody here keeps its memory
    cdef readonly uint64_t addr
    cdef readonly uint64_t nbytes
    cdef readonly bint readonly
    cdef readonly str access
    cdef int inflight
    cdef object __weakref__

    def __init__(self, buffer, access=None, *, context=None):
        if self.p or self.has_view:
            raise ValueError("this region is in use")
        if buffer is INTERNAL:
            return
        self.ctx = context_or_default(context)
        self.ctx.check()
        if PyObject_CheckBuffer(buffer):
            self.take_buffer(buffer)
        else:
            self.take_tensor(buffer)
        try:
            self.register(access)
        except BaseException:
            self.let_go()
            raise

    cdef take_buffer(self, buffer):
        try:
            PyObject_GetBuffer(buffer, &self.view, PyBUF_ANY_CONTIGUOUS | PyBUF_WRITABLE)
        except (BufferError, ValueError):
            try:
                PyObject_GetBuffer(buffer, &self.view, PyBUF_ANY_CONTIGUOUS)
            except (BufferError, ValueError) as e:
                raise ValueError(f"{type(buffer).__name__} cannot be registered: {e}") from None
            self.readonly = True
        self.has_view = True
        self.addr = <uintptr_t>self.view.buf
        self.nbytes = <uint64_t>self.view.len

    cdef take_tensor(self, tensor):
        """torch and its like: an object with data_ptr(), contiguous."""
        if not hasattr(tensor, "data_ptr"):
            raise TypeError(f"{type(tensor).__name__} cannot be registered: it is neither a buffer "
                            "nor a tensor with data_ptr()")
        if hasattr(tensor, "is_contiguous") and not tensor.is_contiguous():
            raise ValueError("a tensor that is not contiguous cannot be registered")
        self.addr = u64(tensor.data_ptr(), "data_ptr()")
        self.nbytes = u64(tensor.numel() * tensor.element_size(), "the tensor's size")
        self.owner = tensor

    cdef register(self, access):
        cdef slime_mr_opts opts
        cdef slime_error err
        cdef slime_ctx *ctx = self.ctx.check()
        cdef int rc
        if access is None:
            access = "r" if self.readonly else "rw"
        if not isinstance(access, str) or access not in ACCESS:
            raise ValueError(f"access is {access!r}: it is 'r', 'w', 'rw' or 'local'")
        memset(&opts, 0, sizeof(opts))
        opts.size = sizeof(opts)
        opts.access = ACCESS[access]
        if self.readonly and opts.access & SLIME_ACCESS_REMOTE_WRITE:
            raise ValueError("memory that is read-only cannot be written by peers")
        if not self.nbytes:
            raise ValueError("memory of 0 bytes cannot be registered")
        if self.foreign:
            opts.flags = SLIME_MR_CHECKED
        with nogil:
            rc = slime_mr_register(ctx, <void *><uintptr_t>self.addr, self.nbytes, &opts, &self.p,
                                   &err)
        if rc == -EOPNOTSUPP and self.foreign:   # a sandbox without process_vm_readv()
            opts.flags = 0
            with nogil:
                rc = slime_mr_register(ctx, <void *><uintptr_t>self.addr, self.nbytes, &opts,
                                       &self.p, &err)
        if rc:
            fail(rc, &err)
        self.access = access

    cdef void let_go(self):
        """The C region now, the buffer when nothing in flight uses it any more."""
        if self.p:
            if self.ctx.gen == generation:
                slime_mr_deregister(self.p)
            self.p = NULL
        if not self.inflight:
            if self.has_view:
                self.has_view = False
                PyBuffer_Release(&self.view)
            self.owner = None

    def __dealloc__(self):
        if self.p and self.ctx is not None and self.ctx.gen == generation:
            slime_mr_deregister(self.p)
        if self.has_view:
            PyBuffer_Release(&self.view)

    cdef int check(self) except -1:
        if self.ctx is not None:
            self.ctx.check()
        if not self.p:
            raise ValueError("this region is closed")
        return 0

    cdef inline void used(self):
        self.inflight += 1

    cdef inline void unused(self):
        self.inflight -= 1
        if not self.inflight and not self.p:
            self.let_go()

    def export(self):
        """What a peer imports: bytes with a secret in them, for as many peers as you like."""
        cdef slime_desc desc
        cdef slime_error err
        cdef int rc
        self.check()
        with nogil:
            rc = slime_mr_export(self.p, &desc, &err)
        if rc:
            fail(rc, &err)
        return PyBytes_FromStringAndSize(<char *>desc.bytes, desc.len)

    def close(self):
        """Peers cannot use it any more. The buffer is let go when transfers in flight are over."""
        if self.ctx is not None:
            self.let_go()

    @property
    def closed(self):
        return self.p == NULL

    def __len__(self):
        return self.nbytes

    def __getitem__(self, key):
        """`region[a:b]`: these bytes of it, for a transfer."""
        cdef Span s = Span.__new__(Span)
        self.check()
        s.region = self
        slice_of(key, self.nbytes, &s.off, &s.nbytes)
        return s

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __repr__(self):
        return f"<dlslime.Region of {self.nbytes} bytes at {self.addr:#x}, {self.access or 'closed'}>"


cdef int slice_of(key, uint64_t nbytes, uint64_t *off, uint64_t *length) except -1:
    cdef uint64_t stop
    if not isinstance(key, slice):
        raise TypeError("a region is cut by a slice of bytes, as in region[0:4096]")
    if key.step is not None and key.step != 1:
        raise ValueError("a slice of a region has no step; see count= and the strides of a transfer")
    off[0] = 0 if key.start is None else u64(key.start, "the start")
    if key.stop is None and nbytes == UINT64_MAX:
        raise ValueError("the length of a peer's region is not known here: name the end of the slice")
    stop = nbytes if key.stop is None else u64(key.stop, "the end")
    if off[0] > stop or stop > nbytes:
        raise IndexError(f"[{off[0]}:{stop}] is not inside a region of {nbytes} bytes")
    length[0] = stop - off[0]
    return 0


@cython.freelist(32)
cdef class Span:
    """Some bytes of a region."""
    cdef Region region
    cdef readonly uint64_t off
    cdef readonly uint64_t nbytes

    def __init__(self):
        raise TypeError("a span is cut out of a region: region[a:b]")

    def __len__(self):
        return self.nbytes


@cython.no_gc_clear
cdef class RemoteRegion:
    """A peer's region, as one endpoint sees it. Made by `Endpoint.import_region`."""

    cdef slime_rmr *p
    cdef Context ctx

    def __init__(self):
        raise TypeError("a peer's region comes from Endpoint.import_region()")

    def __dealloc__(self):
        if self.p and self.ctx is not None and self.ctx.gen == generation:
            slime_rmr_release(self.p)

    def close(self):
        """Let go; transfers in flight keep it."""
        if self.p and self.ctx.gen == generation:
            slime_rmr_release(self.p)
        self.p = NULL

    @property
    def closed(self):
        return self.p == NULL

    def __getitem__(self, key):
        """`remote[a:b]`: these bytes of it."""
        cdef RemoteSpan s = RemoteSpan.__new__(RemoteSpan)
        s.region = self
        slice_of(key, UINT64_MAX, &s.off, &s.nbytes)
        return s

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


@cython.freelist(32)
cdef class RemoteSpan:
    """Some bytes of a peer's region."""
    cdef RemoteRegion region
    cdef readonly uint64_t off
    cdef readonly uint64_t nbytes

    def __init__(self):
        raise TypeError("a span is cut out of a region: remote[a:b]")

    def __len__(self):
        return self.nbytes


cdef Region region_at(Context ctx, uint64_t addr, uint64_t nbytes, str access):
    """A region of memory that is known by its address only."""
    cdef Region r = Region.__new__(Region)
    r.ctx = ctx
    ctx.check()
    if nbytes > UINT64_MAX - addr or not is_mapped(addr, nbytes or 1):
        raise ValueError(f"the {nbytes} bytes at {addr:#x} are not memory of this process")
    memory = memory_at(addr, nbytes)
    if memory is not None:
        PyObject_GetBuffer(memory, &r.view, PyBUF_ANY_CONTIGUOUS)
        r.has_view = True
    r.foreign = memory is None
    r.addr = addr
    r.nbytes = nbytes
    try:
        r.register(access)
    except BaseException:
        r.let_go()
        raise
    return r


cdef Memory memory_at(uint64_t addr, uint64_t nbytes):
    """The Memory that these bytes are in, or None."""
    cdef uint64_t begin
    cdef Memory m
    for begin, ref in list(every_memory.items()):
        if begin <= addr:
            m = ref()
            if m is not None and m.ctx.gen == generation and addr + nbytes <= begin + m.nbytes:
                return m
    return None


def register_address(addr, nbytes, access="rw", *, context=None):
    """Name memory by its address. Of `alloc()` it is kept; else nobody but you keeps it: if it goes,
    transfers of it fail, but what has its address then is read and written. Prefer a buffer."""
    return region_at(context_or_default(context), u64(addr, "addr"), u64(nbytes, "nbytes"), access)
