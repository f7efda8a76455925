# SPDX-License-Identifier: BSD-3-Clause
# One endpoint of the library with its queue: who submits, who takes completions, who waits.
#
# At most one thread takes from the queue (`taking`): a thread that waits, the reader of an asyncio
# loop, or, when there are callbacks or held transfers and nobody waits, a thread of ours. It
# resolves everybody's futures; who waits meanwhile sleeps on a descriptor of his own. A taker that
# leaves wakes another sleeper to take.
#
# Who waits drives the library for a moment (SLICE), which answers soonest. Then he sleeps on
# descriptors without end: that ends for a completion, for who ends his transfer without one, and for
# a signal.
#
# A transfer that the library cannot take yet (not connected, DEPTH reached) is held here, in order,
# one line for each of: reads, writes and sends; receives; immediates. Receives may use a quarter of
# DEPTH each, so that transfers that wait for the peer leave room for those that do not.

cdef enum LinkState:
    NEW, CONNECTING, CONNECTED, FAILED, CLOSED

cdef enum:
    DEPTH = 4096
    SEGS_MAX = 65536
    TAKE = 64

cdef object every_link = set()   # weak references, for the end of the interpreter


cdef class Waiter:
    """A thread that sleeps until FUTURE is done or it is his turn to take."""
    cdef Future future
    cdef int fd      # an eventfd; without one he looks every 10 ms
    cdef bint woken

    def __cinit__(self):
        self.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)

    def __dealloc__(self):
        if self.fd >= 0:
            close(self.fd)

    cdef void wake(self):
        if not self.woken:
            self.woken = True
            if self.fd >= 0:
                eventfd_write(self.fd, 1)

    cdef int sleep(self, int queue_fd, int64_t ns) except -1:
        """Until woken, a signal, or NS are over; until QUEUE_FD is readable if that is not -1."""
        cdef pollfd fds[2]   # the kernel passes over those that are -1
        cdef timespec ts
        cdef timespec *until = &ts
        cdef eventfd_t count
        fds[0].fd, fds[0].events = self.fd, POLLIN
        fds[1].fd, fds[1].events = queue_fd, POLLIN
        if self.fd < 0:
            ns = min(ns, NS // 100)
        ts.tv_sec, ts.tv_nsec = ns // NS, ns % NS
        if ns == FOREVER:
            until = NULL
        if not self.woken:
            with nogil:
                ppoll(fds, 2, until, NULL)
        if self.woken:
            self.woken = False
            if self.fd >= 0:
                eventfd_read(self.fd, &count)
        return 0


@cython.no_gc_clear
cdef class Link:
    """Not for users: Endpoint and the classes of the contract are made of it."""

    cdef Context ctx
    cdef slime_ep *ep
    cdef slime_cq *cq
    cdef LinkState state
    cdef slime_desc peer
    cdef int64_t give_up       # when a connection that does not come has failed
    cdef str failure
    cdef uint32_t depth
    cdef bint patient          # transfers before connect() are held, not refused
    cdef bint taking, flushing, flush_again, watching, connecting
    cdef int calls             # threads inside the library with EP
    cdef int inflight          # submissions that have not completed
    cdef int nrecv, nimm
    cdef int ncallbacks        # futures that no loop looks after
    cdef list waiters
    cdef list comers           # (loop, future) of coroutines that wait for the connection
    cdef object held, held_recvs, held_imms
    cdef object loop
    cdef object __weakref__

    def __cinit__(self):
        self.waiters = []
        self.comers = []
        self.held = deque()
        self.held_recvs = deque()
        self.held_imms = deque()

    def __dealloc__(self):
        if self.ctx is None or self.ctx.gen != generation:
            return
        with nogil:
            slime_ep_destroy(self.ep)
            slime_cq_destroy(self.cq)

    cdef open(self, Context ctx, transport, device, uint32_t depth, uint32_t lanes):
        cdef slime_ep_opts opts
        cdef slime_error err
        cdef slime_ctx *c = ctx.check()
        cdef int rc
        cdef bytes t = None if transport is None else transport.encode()
        cdef bytes d = None if device is None else device.encode()
        self.ctx = ctx
        self.depth = depth or DEPTH
        memset(&opts, 0, sizeof(opts))
        opts.size = sizeof(opts)
        opts.depth = self.depth
        opts.lanes = lanes
        if t is not None:
            opts.transport = t
        if d is not None:
            opts.device = d
        with nogil:
            rc = slime_cq_create(c, opts.depth, &self.cq, &err)
            if not rc:
                rc = slime_ep_create(c, &opts, &self.ep, &err)
        if rc:
            fail(rc, &err)
        if len(every_link) > 64:
            for r in [r for r in every_link if r() is None]:
                every_link.discard(r)
        every_link.add(weak_ref(self))

    # ---- calls with EP: it is not destroyed under them

    cdef slime_ep *enter(self) except NULL:
        self.ctx.check()
        if not self.ep or self.state == CLOSED:
            raise _errors.make(-ECANCELED, "the endpoint is closed")
        self.calls += 1
        return self.ep

    cdef void leave(self):
        self.calls -= 1
        if self.state == CLOSED:
            self.destroy()

    cdef export(self):
        cdef slime_desc desc
        cdef slime_error err
        cdef slime_ep *ep = self.enter()
        cdef int rc
        with nogil:
            rc = slime_ep_export(ep, &desc, &err)
        self.leave()
        if rc:
            fail(rc, &err)
        return PyBytes_FromStringAndSize(<char *>desc.bytes, desc.len)

    cdef RemoteRegion import_region(self, bytes exported):
        cdef RemoteRegion r = RemoteRegion.__new__(RemoteRegion)
        cdef slime_desc desc
        cdef slime_error err
        cdef slime_ep *ep
        cdef int rc
        desc_of(exported, &desc)
        ep = self.enter()
        r.ctx = self.ctx
        with nogil:
            rc = slime_ep_import(ep, &desc, &r.p, &err)
        self.leave()
        if rc:
            fail(rc, &err)
        return r

    cdef dict info(self):
        cdef slime_ep_info info
        cdef slime_ep *ep = self.enter()
        cdef int rc
        info.size = sizeof(info)
        try:
            rc = slime_ep_get_info(ep, &info)
            if rc:
                raise _errors.make(rc, "the endpoint is not connected: there is nothing to tell yet")
            return {"transport": info.transport.decode(), "device": info.device.decode(),
                    "lanes": info.lanes, "reason": info.because.decode("utf-8", "replace"),
                    "peer": info.peer.decode("utf-8", "replace")}
        finally:
            self.leave()

    # ---- connecting

    cdef int connect(self, bytes exported, int64_t deadline) except -1:
        """1: connected. 0: not yet; it goes on, until DEADLINE at least. Raises what went wrong."""
        cdef slime_desc desc
        desc_of(exported, &desc)
        self.give_up = deadline
        if self.state != NEW:
            return self.connect_step(&desc, 0)
        self.peer = desc
        self.state = CONNECTING
        try:
            if self.connect_step(&desc, 0):
                return 1
            if self.held or self.held_recvs or self.held_imms:   # from before connect()
                self.ensure_connector()
            return 0
        except _errors.Error as e:
            if e.errno in (EPROTO, EINVAL):   # no description of a peer's: nothing has begun
                self.state = NEW
            raise

    cdef int connect_step(self, slime_desc *desc, int64_t timeout) except -1:
        cdef slime_error err
        cdef slime_ep *ep
        cdef int rc
        ep = self.enter()
        with nogil:
            rc = slime_ep_connect(ep, desc, timeout, &err)
        self.leave()
        if rc == -ETIMEDOUT:
            return 0
        if rc == -EISCONN and self.state == CONNECTING:
            if not self.is_up():   # it is about this description: the one before goes on
                fail(rc, &err)
            rc = 0   # another thread of ours was told
        if not rc:
            self.become_connected()
            return 1
        if self.state == CONNECTING:
            self.become_failed(rc, err.text.decode("utf-8", "replace"))
        fail(rc, &err)

    cdef bint is_up(self) except -1:
        """Whether the library says that the peer is there."""
        cdef slime_ep_info info
        cdef slime_ep *ep = self.enter()
        cdef int rc
        info.size = sizeof(info)
        with nogil:
            rc = slime_ep_get_info(ep, &info)
        self.leave()
        return rc == 0

    cdef become_connected(self):
        if self.state == CONNECTING:
            self.state = CONNECTED
            self.flush()
            self.wake_all()
            self.tell_comers()

    cdef become_failed(self, int rc, str why):
        self.state = FAILED
        self.failure = why
        self.end_held(rc, why)
        self.wake_all()
        self.tell_comers()

    cdef tell_comers(self):
        """Who awaits the connection looks again."""
        comers, self.comers = self.comers, []
        for loop, future in comers:
            try:
                loop.call_soon_threadsafe(end_future, future)
            except RuntimeError:
                pass   # the loop is closed

    async def comes(self, timeout):
        """Return when there is news of a connection that has begun, or after TIMEOUT seconds."""
        import asyncio

        loop = asyncio.get_running_loop()
        entry = (loop, loop.create_future())
        if self.state != CONNECTING:
            return
        self.comers.append(entry)
        self.ensure_connector()
        try:
            await asyncio.wait((entry[1],), timeout=timeout)
        finally:
            if entry in self.comers:
                self.comers.remove(entry)

    cdef ensure_connector(self):
        if not self.connecting and self.state == CONNECTING:
            self.connecting = True
            start_new_thread(self.run_connector, ())

    def run_connector(self):
        """The thread that waits for the peer when transfers wait for the connection."""
        cdef slime_desc desc = self.peer
        try:
            while self.state == CONNECTING and self.ctx.gen == generation:
                if self.connect_step(&desc, SLICE):
                    break
                if now_ns() > self.give_up:
                    self.become_failed(-ETIMEDOUT, "the peer did not connect in time")
        except _errors.Error:
            pass   # told to the transfers that were held
        finally:
            self.connecting = False

    # ---- submitting

    cdef Future make(self, type cls, Kind kind):
        cdef Future f = cls.__new__(cls)
        f.link = self
        f.kind = kind
        f.state = HELD
        f.deadline = FOREVER
        if kind == RECV_IMM:
            f.began = now_ns()
        return f

    cdef inline object line_of(self, Future f):
        if f.kind == RECV:
            return self.held_recvs
        if f.kind == RECV_IMM:
            return self.held_imms
        return self.held

    cdef int submit(self, Future f) except -1:
        """Post F or hold it. Raises what makes it impossible; then F is as if never made."""
        cdef int rc
        self.ctx.check()
        if self.state == CLOSED or (not self.ep and self.state != CONNECTING):
            raise _errors.make(-ECANCELED, "the endpoint is closed")
        if self.state == FAILED:
            raise _errors.make(-ENOTCONN, f"the endpoint is not connected: {self.failure}")
        if self.state == NEW and not self.patient:
            raise _errors.make(-ENOTCONN, "the endpoint is not connected: call connect() first")
        if self.state == CONNECTING and not self.connecting:
            self.connect_step(&self.peer, 0)   # the library may be further than we know
        line = self.line_of(f)
        if self.state != CONNECTED or line:
            return self.hold(f, line)
        rc = self.post(f)
        if rc == -EAGAIN:
            return self.hold(f, line)
        if rc and not f.parts:
            f.state = DONE
            f.status = rc
            raise f.error()
        f.status = f.status or rc
        self.settle(f)
        return 0

    cdef int hold(self, Future f, line) except -1:
        line.append(f)
        if self.state == CONNECTED:
            if not self.inflight:   # nothing would tell us when there is room
                self.flush()
            elif self.loop is None:
                self.ensure_watcher()
        else:
            self.ensure_connector()
        return 0

    cdef int resolve(self, Future f) except -1:
        """Make the batch of a transfer whose regions could not be looked up before connect()."""
        table, assign = f.later
        f.batch = (<Table>table).batch(self, f.kind == READ, assign)
        f.later = None
        return 0

    cdef int post(self, Future f) except? -1:
        """0, or the negative errno of the library. -EAGAIN: what is left of F is posted later."""
        cdef slime_submit how
        cdef slime_span span
        cdef slime_op **out
        cdef size_t n, total
        cdef int rc = 0
        cdef slime_ep *ep
        cdef Kind kind = f.kind
        cdef slime_seg *segs
        cdef uint32_t imm = f.imm_value
        cdef bint last
        if f.later is not None:
            self.resolve(f)
        if (kind == RECV and self.nrecv >= <int>(self.depth // 4)) or \
                (kind == RECV_IMM and self.nimm >= <int>(self.depth // 4)):
            return -EAGAIN
        memset(&how, 0, sizeof(how))
        how.size = sizeof(how)
        how.cq = self.cq
        how.user_data = <uint64_t><uintptr_t><void *>f
        how.flags = f.flags
        total = f.batch.n if f.batch is not None and kind <= WRITE_IMM else 1
        if total > SEGS_MAX and not f.ops:
            f.ops = <slime_op **>PyMem_RawMalloc((total // SEGS_MAX + 1) * sizeof(void *))
            if not f.ops:
                raise MemoryError()
        ep = self.enter()
        f.state = RUNNING
        f.posting = True
        if f.batch is not None:
            f.batch.hold()
        while True:
            n = min(total - f.next, <size_t>SEGS_MAX)
            last = f.next + n == total
            if f.deadline != FOREVER:
                how.timeout_ns = f.deadline - now_ns()
                if how.timeout_ns <= 0:
                    rc = -ETIME
                    break
            # Each submission owns a reference; another thread may end it before we are back.
            Py_INCREF(f)
            f.parts += 1
            self.count(kind, 1)
            out = &f.op
            if f.ops:
                f.ops[f.nops] = NULL
                out = &f.ops[f.nops]
                f.nops += 1
            segs = f.batch.segs + f.next if kind <= WRITE_IMM else NULL
            f.next += n
            if kind == READ:
                with nogil:
                    rc = slime_ep_read(ep, segs, n, &how, out)
            elif kind == WRITE or (kind == WRITE_IMM and not last):
                with nogil:
                    rc = slime_ep_write(ep, segs, n, &how, out)
            elif kind == WRITE_IMM:
                if f.nops > 1:
                    how.flags |= SLIME_SUBMIT_FENCE   # the immediate comes after all parts
                with nogil:
                    rc = slime_ep_write_imm(ep, segs, n, imm, &how, out)
            elif kind == RECV_IMM:
                with nogil:
                    rc = slime_ep_recv_imm(ep, &how, out)
            elif kind == XFER:
                with nogil:
                    rc = slime_xfer_post(f.xfer, &how, out)
            else:
                span.mr = f.batch.segs[0].local
                span.off = f.batch.segs[0].local_off
                span.len = f.batch.segs[0].len
                if kind == SEND:
                    with nogil:
                        rc = slime_ep_send(ep, &span, &how, out)
                else:
                    with nogil:
                        rc = slime_ep_recv(ep, &span, &how, out)
            if rc:
                self.count(kind, -1)
                f.parts -= 1
                f.next -= n
                if f.ops:
                    f.nops -= 1
                Py_DECREF(f)
                break
            if last or f.status:
                break
        f.posting = False
        if rc == -EAGAIN and not f.next:
            f.state = HELD
        if rc and not f.parts and f.batch is not None:
            f.batch.drop()
        self.leave()
        return rc

    cdef inline void count(self, Kind kind, int by):
        self.inflight += by
        if kind == RECV:
            self.nrecv += by
        elif kind == RECV_IMM:
            self.nimm += by

    cdef flush(self):
        """Post what was held, as far as there is room."""
        if self.flushing:
            self.flush_again = True
            return
        self.flushing = True
        try:
            while True:
                self.flush_again = False
                if self.state == CONNECTED:
                    self.flush_line(self.held)
                    self.flush_line(self.held_recvs)
                    self.flush_line(self.held_imms)
                if not self.flush_again:
                    break
        finally:
            self.flushing = False

    cdef flush_line(self, line):
        cdef Future f
        cdef int rc
        while line and self.state == CONNECTED:
            f = line[0]
            if f.state == DONE:
                line.popleft()
                continue
            rc = f.status   # a part of it failed, or it was cancelled: the rest is not posted
            if not rc:
                try:
                    rc = self.post(f)
                except (_errors.Error, ValueError, TypeError, RuntimeError, MemoryError) as e:
                    rc = -(getattr(e, "errno", None) or EINVAL)
                    f.why = str(e)
            if rc == -EAGAIN:
                return
            if line and line[0] is f:
                line.popleft()
            f.status = f.status or rc
            self.settle(f)

    cdef end_held(self, int rc, str why):
        cdef Future f
        for line in (self.held, self.held_recvs, self.held_imms):
            while line:
                f = line.popleft()
                f.status = f.status or rc
                f.why = why
                self.settle(f)

    cdef cancel(self, Future f):
        cdef uint32_t i
        line = self.line_of(f)
        if f in line:
            if f.parts:
                f.status = -ECANCELED
            else:
                line.remove(f)
                f.status = -ECANCELED
                self.finish(f)
        if f.op:
            slime_op_cancel(f.op)
        for i in range(f.nops):
            slime_op_cancel(f.ops[i])

    # ---- completions

    cdef settle(self, Future f):
        """End F if all of it is over. Who posts F does so himself, after the last part."""
        if f.parts or f.posting or f.state == DONE:
            return
        if f.status or f.batch is None or f.kind > WRITE_IMM or f.next == f.batch.n:
            self.finish(f)

    cdef finish(self, Future f):
        cdef Waiter w
        if f.state == DONE:
            return
        f.state = DONE
        if f.kind == RECV_IMM:
            f.ended = now_ns()
        if f.batch is not None:
            f.batch.drop()
            f.batch = None
        f.release_ops()
        f.keep = None
        f.later = None
        for w in self.waiters:
            if w.future is f:
                w.wake()
        if f.callbacks is not None:
            callbacks, f.callbacks = f.callbacks, None
            for entry in callbacks:
                if entry[0] is None or entry[0] is not self.loop:
                    self.ncallbacks -= 1
                f.call(entry)

    cdef dispatch(self, slime_result *res, int n):
        cdef Future f
        cdef int i
        for i in range(n):
            f = <Future><PyObject *><uintptr_t>res[i].user_data
            Py_DECREF(f)   # the submission's; ours is F
            self.count(f.kind, -1)
            f.parts -= 1
            f.moved += res[i].bytes
            if res[i].status and not f.status:
                f.status = res[i].status
            if res[i].flags & SLIME_RESULT_IMM:
                f.imm_value = res[i].imm
            self.settle(f)
        if n > 0 and (self.held or self.held_recvs or self.held_imms):
            self.flush()

    cdef int take(self, int64_t timeout) except -1:
        """Be the taker once, for at most TIMEOUT. Returns how many completions came."""
        cdef slime_result res[TAKE]
        cdef int n
        self.taking = True
        with nogil:
            if timeout > 0:
                n = slime_cq_wait(self.cq, res, TAKE, timeout)
            else:
                n = slime_cq_take(self.cq, res, TAKE)
        self.taking = False
        if n > 0:
            self.dispatch(res, n)
        return n if n > 0 else 0

    cdef look(self):
        """See what is over, without waiting."""
        while not self.taking and self.inflight and self.take(0) == TAKE:
            pass
        self.pass_on()

    cdef int wait(self, Future f, int64_t deadline) except -1:
        cdef int64_t left
        cdef int64_t quick = 0   # until when to drive
        cdef int64_t most = FOREVER
        cdef Waiter w = None
        try:
            while f.state != DONE:
                left = FOREVER
                if deadline != FOREVER:
                    left = deadline - now_ns()
                    if left <= 0:
                        if not quick:
                            self.look()
                        break
                if f.state == HELD:
                    left = min(left, self.time_of_held(f))
                    if left <= 0:
                        self.expire(f)
                        break
                if f.state == HELD and not self.inflight:
                    self.flush()
                    if f.state == DONE:
                        break
                if not self.taking and self.inflight and (not quick or now_ns() < quick):
                    self.take(min(left, SLICE))
                else:
                    if w is None:
                        w = Waiter()
                        w.future = f
                        if runs_handlers():
                            most = NS
                    # A signal just before the sleep does not end it, but is seen after it.
                    self.sleep(w, min(left, most))
                    if most != FOREVER:
                        most = min(2 * most, 60 * NS)
                if not quick and f.state != DONE:
                    quick = now_ns() + SLICE
                PyErr_CheckSignals()
        finally:
            self.pass_on()
        return 0

    cdef int64_t time_of_held(self, Future f):
        """How long F may be held still."""
        cdef int64_t until = min(f.deadline, self.held_until())
        return FOREVER if until == FOREVER else until - now_ns()

    cdef int64_t held_until(self):
        """When a transfer that waits for a connection has waited long enough."""
        if self.state == NEW or self.state == CONNECTING:
            if not self.give_up:
                self.give_up = deadline_after(connect_limit)
            return self.give_up
        return FOREVER

    cdef expire(self, Future f):
        line = self.line_of(f)
        if f in line:
            line.remove(f)
        f.status = -ETIME if now_ns() >= f.deadline else -ENOTCONN
        if self.state == NEW:
            f.why = "connect() was not called"
        elif self.state == CONNECTING:
            f.why = "the peer did not connect in time"
        self.finish(f)

    cdef int sleep(self, Waiter w, int64_t ns) except -1:
        """Until W is woken, a signal comes or NS are over; as the taker, if there is none."""
        cdef bint taker = not self.taking and self.inflight
        cdef int fd = slime_cq_fd(self.cq) if taker else -1
        if taker and (fd < 0 or w.fd < 0):   # no descriptors left
            self.take(min(ns, SLICE))
            return 0
        self.waiters.append(w)
        self.taking = self.taking or taker
        try:
            w.sleep(fd, ns)
        finally:
            if taker:
                self.taking = False
            self.waiters.remove(w)
        if taker:
            self.take(0)
        return 0

    cdef pass_on(self):
        """Who does not take any more wakes somebody who does."""
        if self.waiters and not self.taking:
            (<Waiter>self.waiters[0]).wake()

    cdef wake_all(self):
        cdef Waiter w
        for w in self.waiters:
            w.wake()

    # ---- who takes when nobody waits

    cdef watch(self, loop):
        """See to it that completions are noticed by LOOP, or by a thread of ours if it is None."""
        if loop is not None and loop is not self.loop and (self.loop is None
                                                           or self.loop.is_closed()):
            loop.add_reader(self.fileno(), self.readable)
            self.loop = loop
        if loop is None or loop is not self.loop:
            self.ncallbacks += 1
            self.ensure_watcher()

    cdef int fileno(self) except -1:
        cdef int fd
        self.ctx.check()
        if not self.cq:
            raise ValueError("the endpoint is closed")
        fd = slime_cq_fd(self.cq)
        if fd < 0:
            raise _errors.make(fd, "no descriptor for the completions can be made")
        return fd

    def readable(self):
        """The eventfd is readable: called by an asyncio loop. Bounded, to be fair to the others."""
        cdef int i
        for i in range(8):
            if self.taking or self.take(0) < TAKE:
                break
        self.pass_on()

    cdef ensure_watcher(self):
        if not self.watching:
            self.watching = True
            start_new_thread(self.run_watcher, ())

    cdef bint watched(self):
        return self.inflight and (self.ncallbacks > 0 or self.held or self.held_recvs
                                  or self.held_imms)

    def run_watcher(self):
        """The thread that takes while there are callbacks or held transfers and nobody waits."""
        cdef Waiter w = Waiter()
        try:
            while self.watched() and self.ctx.gen == generation:
                self.sleep(w, FOREVER)
        finally:
            self.watching = False
            self.pass_on()

    # ---- the end

    cdef close(self):
        """Cancel everything, wait for the quiet, give the endpoint back. Any thread, also twice."""
        cdef slime_ep *ep = self.ep
        cdef int64_t deadline
        cdef Waiter w
        if self.state == CLOSED or self.ctx is None or self.ctx.gen != generation:
            return
        self.state = CLOSED
        self.calls += 1
        with nogil:
            slime_ep_close(ep)
        self.end_held(-ECANCELED, None)
        self.wake_all()
        self.tell_comers()
        deadline = deadline_after(5 * NS)
        w = Waiter()
        while self.inflight and now_ns() < deadline:
            if self.taking:
                self.sleep(w, NS // 1000)
            else:
                self.take(NS // 100)
        self.wake_all()
        self.leave_loop()
        self.leave()

    cdef leave_loop(self):
        loop, self.loop = self.loop, None
        if loop is None or loop.is_closed():
            return
        fd = self.fileno()
        if get_running_loop() is loop:
            loop.remove_reader(fd)
            return
        try:
            # The link is an argument so that the descriptor stays open until then.
            loop.call_soon_threadsafe(forget_reader, loop, fd, self)
        except RuntimeError:
            pass   # closed meanwhile

    cdef void destroy(self):
        cdef slime_ep *ep = self.ep
        if self.calls or self.inflight or not ep:
            return
        self.ep = NULL
        with nogil:
            slime_ep_destroy(ep)


def end_future(future):
    if not future.done():
        future.set_result(None)


def forget_reader(loop, fd, link):
    loop.remove_reader(fd)


cdef int64_t connect_limit = 300 * NS


def set_connect_limit(seconds):
    """How long transfers of the contract's classes wait for a connection."""
    global connect_limit
    connect_limit = nanoseconds(seconds, "the limit")


cdef int desc_of(object exported, slime_desc *out) except -1:
    cdef Py_ssize_t n
    if not isinstance(exported, bytes):
        raise TypeError(f"a description is bytes, as export() gave them, not "
                        f"{type(exported).__name__}")
    n = PyBytes_GET_SIZE(exported)
    if n > SLIME_DESC_MAX:
        raise _errors.make(-EPROTO, f"{n} bytes are no description: it has {SLIME_DESC_MAX} at most")
    out.len = <uint32_t>n
    memcpy(out.bytes, PyBytes_AS_STRING(exported), n)
    return 0


def close_everything():
    """At exit: nothing writes into memory that the interpreter takes down."""
    for r in list(every_link):
        link = r()
        if link is not None:
            (<Link>link).close()


def _register_exit():
    import atexit

    atexit.register(close_everything)


_register_exit()
