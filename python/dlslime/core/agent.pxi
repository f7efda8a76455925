# SPDX-License-Identifier: BSD-3-Clause
# Agents: find peers by name. The links of an agent are Links whose endpoint the agent makes, loses
# and makes again; include/slime/agent.h is the reference.
#
# libdlslime-agent is in this extension where libevent and jansson were there to build it; else its
# functions are weak references to nothing, and has_agent() says so.

cdef extern from "<errno.h>":
    enum:
        ECONNRESET, ENOENT, ESTALE

cdef extern from *:
    """
    #include <slime/agent.h>
    #pragma weak slime_agent_create
    #pragma weak slime_agent_alias
    #pragma weak slime_agent_incarnation
    #pragma weak slime_agent_peers
    #pragma weak slime_agent_regions
    #pragma weak slime_agent_region
    #pragma weak slime_agent_resource
    #pragma weak slime_agent_snapshots
    #pragma weak slime_agent_publish
    #pragma weak slime_agent_withdraw
    #pragma weak slime_agent_connect
    #pragma weak slime_agent_links
    #pragma weak slime_agent_flight
    #pragma weak slime_agent_destroy
    #pragma weak slime_names_free
    #pragma weak slime_text_free
    #pragma weak slime_link_wait
    #pragma weak slime_link_get_info
    #pragma weak slime_link_ep
    #pragma weak slime_link_drop_ep
    #pragma weak slime_link_region
    #pragma weak slime_link_close
    static int sl_has_agent(void) { return slime_agent_create != 0; }
    """
    int sl_has_agent()

cdef extern from "slime/agent.h" nogil:
    ctypedef struct slime_agent
    ctypedef struct slime_link
    struct slime_agent_opts:
        uint32_t size
        uint32_t ttl_ms
        uint32_t timeout_ms
        const char *ctrl_url
        const char *alias
        const char *name_prefix
        const char *scope
        const char *token
        const char *ca_file
        const char *resource
        const char *cert_file
        const char *key_file
    struct slime_names:
        size_t n
        char **name
    struct slime_named_mr:
        const char *name
        slime_mr *mr
        const char *note
    struct slime_link_info:
        uint32_t size
        uint32_t state
        uint64_t peer_incarnation
        uint64_t reconnects
        char peer[520]
        char transport[16]
        char device[128]
        char because[1024]
    enum:
        SLIME_LINK_UP
        SLIME_LINK_CLOSED
    int slime_agent_create(slime_ctx *ctx, const slime_agent_opts *opts, slime_agent **out,
                           slime_error *err)
    const char *slime_agent_alias(const slime_agent *agent)
    uint64_t slime_agent_incarnation(const slime_agent *agent)
    int slime_agent_peers(slime_agent *agent, slime_names **out, slime_error *err)
    int slime_agent_regions(slime_agent *agent, const char *peer, slime_names **out,
                            slime_error *err)
    int slime_agent_region(slime_agent *agent, const char *peer, const char *name, char **out,
                           slime_error *err)
    int slime_agent_resource(slime_agent *agent, const char *peer, char **out, slime_error *err)
    int slime_agent_snapshots(slime_agent *agent, char **out, slime_error *err)
    int slime_agent_publish(slime_agent *agent, const slime_named_mr *regions, size_t n,
                            slime_error *err)
    int slime_agent_withdraw(slime_agent *agent, const char *const *names, size_t n,
                             slime_error *err)
    int slime_agent_connect(slime_agent *agent, const char *peer, const slime_ep_opts *ep,
                            slime_link **out, slime_error *err)
    size_t slime_agent_links(slime_agent *agent, slime_link **out, size_t cap)
    int slime_agent_flight(slime_agent *agent, char **out)
    void slime_agent_destroy(slime_agent *agent)
    void slime_names_free(slime_names *names)
    void slime_text_free(char *text)
    int slime_link_wait(slime_link *link, int64_t timeout_ns, slime_error *err)
    int slime_link_get_info(slime_link *link, slime_link_info *out)
    slime_ep *slime_link_ep(slime_link *link)
    void slime_link_drop_ep(slime_link *link, slime_ep *ep)
    int slime_link_region(slime_link *link, const char *name, slime_rmr **out, slime_error *err)
    void slime_link_close(slime_link *link)

cdef tuple LINK_STATES = ("idle", "resolving", "connecting", "up", "lost", "reconnecting", "closed")
cdef object every_agent = set()   # weak references, for the end of the interpreter


def has_agent():
    """Whether this build has agents."""
    return sl_has_agent() != 0


cdef bytes utf8(object text, str what, bint may_be_none=False):
    """TEXT for the library; it ends at a 0, so there must be none in it."""
    cdef bytes b
    if text is None and may_be_none:
        return None
    if not isinstance(text, str):
        raise TypeError(f"{what} is {type(text).__name__}, not str")
    try:
        b = text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} is not text that UTF-8 can hold: {text!r}") from None
    if b"\0" in b:
        raise ValueError(f"{what} has a control character in it: {text!r}")
    return b


cdef inline const char *chars(bytes b) noexcept:
    return NULL if b is None else PyBytes_AS_STRING(b)


cdef take_text(char *text):
    """What the library allocated, as a str."""
    try:
        return (<bytes>text).decode("utf-8", "replace")
    finally:
        slime_text_free(text)


cdef list take_names(slime_names *names):
    cdef size_t i
    try:
        return [(<bytes>names.name[i]).decode("utf-8", "replace") for i in range(names.n)]
    finally:
        slime_names_free(names)


@cython.no_gc_clear
cdef class Agent:
    """Not for users: PeerAgent is made of it. A name at the control plane, and links to peers."""

    cdef Context ctx
    cdef slime_agent *p
    cdef bint closed
    cdef int calls           # threads inside the library with P
    cdef dict published      # name -> Region
    cdef readonly str alias
    cdef object __weakref__

    def __init__(self, url, *, alias=None, scope=None, token=None, ca=None, cert=None,
                 key=None, resource=None, ttl_ms=0, timeout_ms=0, context=None):
        cdef slime_agent_opts opts
        cdef slime_error err
        cdef slime_ctx *c
        cdef int rc
        cdef bytes u = utf8(url, "the control plane's URL"), a = utf8(alias, "alias", True)
        cdef bytes s = utf8(scope, "scope", True), t = utf8(token, "token", True)
        cdef bytes f = utf8(ca, "ca", True), r = utf8(resource, "resource", True)
        cdef bytes shown = utf8(cert, "cert", True), k = utf8(key, "key", True)
        if self.p:
            raise ValueError("this agent is in use")
        if not sl_has_agent():
            raise ImportError("this build of dlslime is without agents")
        self.published = {}
        self.ctx = context_or_default(context)
        c = self.ctx.check()
        memset(&opts, 0, sizeof(opts))
        opts.size = sizeof(opts)
        opts.ctrl_url, opts.alias, opts.scope = chars(u), chars(a), chars(s)
        opts.token, opts.ca_file, opts.resource = chars(t), chars(f), chars(r)
        opts.cert_file, opts.key_file = chars(shown), chars(k)
        opts.ttl_ms = u32(ttl_ms, "ttl_ms", 0xFFFFFFFF)
        opts.timeout_ms = u32(timeout_ms, "timeout_ms", 0xFFFFFFFF)
        with nogil:
            rc = slime_agent_create(c, &opts, &self.p, &err)
        if rc:
            fail(rc, &err)
        self.alias = slime_agent_alias(self.p).decode("utf-8", "replace")
        for ref in [ref for ref in every_agent if ref() is None]:
            every_agent.discard(ref)
        every_agent.add(weak_ref(self))

    def __dealloc__(self):
        if self.p and self.ctx.gen == generation:
            with nogil:
                slime_agent_destroy(self.p)

    cdef slime_agent *enter(self) except NULL:
        self.ctx.check()
        if not self.p or self.closed:
            raise _errors.make(-ECANCELED, "the agent is shut down")
        self.calls += 1
        return self.p

    cdef int leave(self, int rc, slime_error *err) except -1:
        self.calls -= 1
        if self.closed:
            self.destroy()
        if rc < 0:
            fail(rc, err)
        return rc

    @property
    def incarnation(self):
        """Which life of the alias this is; 0 while the control plane does not know of it."""
        cdef slime_error err
        cdef slime_agent *p = self.enter()
        cdef uint64_t n = slime_agent_incarnation(p)
        self.leave(0, &err)
        return n

    def peers(self):
        """The other agents of the scope."""
        cdef slime_names *names = NULL
        cdef slime_error err
        cdef slime_agent *p = self.enter()
        cdef int rc
        with nogil:
            rc = slime_agent_peers(p, &names, &err)
        self.leave(rc, &err)
        return take_names(names)

    def regions(self, peer):
        """The names of the regions that PEER publishes."""
        cdef bytes name = utf8(peer, "the peer's alias")
        cdef const char *n = name
        cdef slime_names *names = NULL
        cdef slime_error err
        cdef slime_agent *p = self.enter()
        cdef int rc
        with nogil:
            rc = slime_agent_regions(p, n, &names, &err)
        self.leave(rc, &err)
        return take_names(names)

    def region(self, peer, name):
        """What is known of a region of PEER: JSON."""
        cdef bytes who = utf8(peer, "the peer's alias"), what = utf8(name, "the name of a region")
        cdef const char *a = who
        cdef const char *b = what
        cdef char *text = NULL
        cdef slime_error err
        cdef slime_agent *p = self.enter()
        cdef int rc
        with nogil:
            rc = slime_agent_region(p, a, b, &text, &err)
        self.leave(rc, &err)
        return take_text(text)

    def resource(self, peer=None):
        """What PEER (None: this agent) tells of itself: JSON."""
        cdef bytes name = utf8(peer, "the peer's alias", True)
        cdef const char *n = chars(name)
        cdef char *text = NULL
        cdef slime_error err
        cdef slime_agent *p = self.enter()
        cdef int rc
        with nogil:
            rc = slime_agent_resource(p, n, &text, &err)
        self.leave(rc, &err)
        return take_text(text)

    def snapshots(self):
        """What all agents of the scope last told of their traffic: JSON."""
        cdef char *text = NULL
        cdef slime_error err
        cdef slime_agent *p = self.enter()
        cdef int rc
        with nogil:
            rc = slime_agent_snapshots(p, &text, &err)
        self.leave(rc, &err)
        return take_text(text)

    def flight(self):
        """The last events of every link, a line each."""
        cdef char *text = NULL
        cdef slime_error err
        cdef slime_agent *p = self.enter()
        cdef int rc = slime_agent_flight(p, &text)
        memset(&err, 0, sizeof(err))
        self.leave(rc, &err)
        return take_text(text)

    def publish(self, name, Region region not None, note=None):
        """Let peers find REGION as NAME; it is kept until withdrawn. NOTE is JSON for them."""
        cdef bytes n = utf8(name, "the name of a region"), extra = utf8(note, "note", True)
        cdef slime_named_mr one
        cdef slime_error err
        cdef slime_agent *p
        cdef int rc
        region.check()
        one.name, one.mr, one.note = n, region.p, chars(extra)
        p = self.enter()
        with nogil:
            rc = slime_agent_publish(p, &one, 1, &err)
        self.leave(rc, &err)
        self.published[name] = region

    def withdraw(self, name):
        """Peers do not find NAME any more. Close the region after this, not before."""
        cdef bytes n = utf8(name, "the name of a region")
        cdef const char *one = n
        cdef slime_error err
        cdef slime_agent *p = self.enter()
        cdef int rc
        with nogil:
            rc = slime_agent_withdraw(p, &one, 1, &err)
        self.leave(rc, &err)
        self.published.pop(name, None)

    def connect(self, peer, transport, device, lanes, list local not None, dict names not None):
        """A LinkPort to PEER. LOCAL and NAMES are the agent's regions, by handle and by name."""
        cdef bytes n = utf8(peer, "the peer's alias")
        cdef bytes t = utf8(transport, "transport", True), d = utf8(device, "device", True)
        cdef const char *who = n
        cdef slime_ep_opts opts
        cdef slime_link *handle = NULL
        cdef slime_error err
        cdef slime_agent *p
        cdef int rc
        memset(&opts, 0, sizeof(opts))
        opts.size = sizeof(opts)
        opts.depth = DEPTH
        opts.lanes = u32(lanes, "lanes", 16)
        opts.transport, opts.device = chars(t), chars(d)
        p = self.enter()
        with nogil:
            rc = slime_agent_connect(p, who, &opts, &handle, &err)
        self.leave(rc, &err)
        return port_of(self, handle, DEPTH, local, names)

    def links(self, known, list local not None, dict names not None):
        """LinkPorts of the links that are not among KNOWN (what LinkPort.id gave): peers' doing."""
        cdef slime_link *handles[1024]
        cdef slime_error err
        cdef slime_agent *p = self.enter()
        cdef size_t i, n = min(slime_agent_links(p, handles, 1024), <size_t>1024)
        cdef list out = []
        for i in range(n):
            if <uintptr_t>handles[i] in known:
                with nogil:
                    slime_link_close(handles[i])
            else:
                out.append(port_of(self, handles[i], DEPTH // 4, local, names))
        self.leave(0, &err)
        return out

    def close(self):
        """Take leave of the control plane; every link closes. Any thread, also twice.

        Who is inside a call takes leave when it returns.
        """
        if self.ctx is None or self.ctx.gen != generation:
            return
        self.closed = True
        self.destroy()

    cdef void destroy(self):
        cdef slime_agent *p = self.p
        if self.calls or not p:
            return
        self.p = NULL
        with nogil:
            slime_agent_destroy(p)
        self.published.clear()


@cython.no_gc_clear
cdef class LinkRegion(RemoteRegion):
    """A peer's region by name; the link owns it."""

    def __dealloc__(self):
        self.p = NULL


@cython.no_gc_clear
cdef class AgentLink(Link):
    """A Link whose endpoint is the one that the agent's link has just now.

    While it has none, transfers are held. What was in flight when the peer went ends with
    ECONNRESET; so do transfers that were held for lack of room, as they name regions of then.
    """

    cdef Agent agent
    cdef slime_link *handle
    cdef uint64_t life       # counts endpoints
    cdef list retired        # endpoints of before, as numbers, to give back

    def __dealloc__(self):
        self.ep = NULL       # the agent's
        if self.handle and self.agent is not None and self.agent.ctx.gen == generation:
            with nogil:
                slime_link_close(self.handle)

    cdef begin(self, uint32_t depth):
        cdef slime_error err
        cdef slime_ctx *c = self.ctx.check()
        cdef int rc
        self.depth = depth
        self.patient = True
        self.retired = []
        self.state = CONNECTING
        self.give_up = deadline_after(connect_limit)
        with nogil:
            rc = slime_cq_create(c, DEPTH, &self.cq, &err)
        if rc:
            fail(rc, &err)
        every_link.add(weak_ref(self))

    # ---- which endpoint

    cdef bind(self):
        """Take the endpoint that the link has now."""
        cdef slime_ep *ep
        if self.state != CONNECTED and self.state != CONNECTING or self.ctx.gen != generation:
            return
        ep = slime_link_ep(self.handle)
        if not ep:
            if self.state == CONNECTED:
                self.state = CONNECTING
                self.give_up = deadline_after(connect_limit)
            return
        if ep != self.ep:
            self.change(ep)
        if self.state == CONNECTING:
            self.become_connected()

    cdef change(self, slime_ep *ep):
        if self.ep:
            self.retired.append(<uintptr_t>self.ep)
        self.ep = ep
        self.life += 1
        self.end_outdated()
        self.give_back()

    cdef end_outdated(self):
        cdef Future f
        for f in [f for f in self.held if (<Future>f).batch is not None
                  and (<Future>f).kind <= WRITE_IMM and (<Future>f).batch.n]:
            self.held.remove(f)
            f.status = f.status or -ECONNRESET
            self.settle(f)

    cdef give_back(self):
        cdef slime_ep *old
        while self.retired and not self.calls:
            old = <slime_ep *><uintptr_t>self.retired.pop()
            self.calls += 1
            with nogil:
                slime_link_drop_ep(self.handle, old)
            self.leave()

    cdef LinkRegion region(self, str name):
        """The peer's region NAME on the endpoint of now. Blocks when it is asked for first."""
        cdef LinkRegion r = LinkRegion.__new__(LinkRegion)
        cdef bytes n = utf8(name, "the name of a region")
        cdef const char *text = n
        cdef slime_error err
        cdef int rc
        r.ctx = self.ctx
        self.enter()
        with nogil:
            rc = slime_link_region(self.handle, text, &r.p, &err)
        self.leave()
        if rc == -ENOENT or rc == -ESTALE:
            raise RuntimeError(f"memory region '{name}' is not published yet: "
                               + err.text.decode("utf-8", "replace"))
        if rc:
            fail(rc, &err)
        return r

    cdef dict info(self):
        self.bind()
        if self.state != CONNECTED:
            raise _errors.make(-ENOTCONN, "the link is not up: there is nothing to tell yet")
        return Link.info(self)

    # ---- connecting: the agent does it, here is who waits

    cdef int connect_step(self, slime_desc *unused, int64_t timeout) except -1:
        cdef slime_error err
        cdef int rc
        if not self.handle or self.state == CLOSED:
            raise _errors.make(-ECANCELED, "the endpoint is closed")
        self.calls += 1
        with nogil:
            rc = slime_link_wait(self.handle, timeout, &err)
        self.leave()
        if rc == -ETIMEDOUT:
            self.failure = err.text.decode("utf-8", "replace")
            return 0
        if rc:
            self.become_failed(rc, err.text.decode("utf-8", "replace"))
            fail(rc, &err)
        self.bind()
        return self.state == CONNECTED

    cdef become_failed(self, int rc, str why):
        """A link that does not come up goes on trying; who waited long enough is told why."""
        if self.state == CLOSED:
            return
        if rc == -ECANCELED:
            self.state = FAILED
        self.give_up = deadline_after(connect_limit)
        self.end_held(rc, self.failure or why)
        self.failure = why
        self.wake_all()
        self.tell_comers()

    def run_connector(self):
        try:
            while self.state == CONNECTING and self.ctx.gen == generation \
                    and (self.held or self.held_recvs or self.held_imms or self.comers):
                if self.connect_step(NULL, SLICE):
                    break
                if now_ns() > self.give_up:
                    self.become_failed(-ETIMEDOUT, "the peer did not connect in time")
        except _errors.Error:
            pass   # told to the transfers that were held
        finally:
            self.connecting = False

    cdef int submit(self, Future f) except -1:
        self.bind()
        return Link.submit(self, f)

    # ---- the end

    cdef close(self):
        if self.ep or self.state == CLOSED or self.ctx is None or self.ctx.gen != generation:
            Link.close(self)
            return
        self.state = CLOSED
        self.end_held(-ECANCELED, None)
        self.wake_all()
        self.tell_comers()
        self.destroy()

    cdef void destroy(self):
        cdef slime_link *handle = self.handle
        if self.calls or self.inflight or not handle:
            return
        self.handle = NULL
        self.ep = NULL
        with nogil:
            slime_link_close(handle)


cdef class LinkTable(Table):
    """As Table, where regions may be said by name. Handles of the peer's regions outlive its life:
    those by name mean what has that name now."""

    cdef dict names          # of our regions: name -> handle
    cdef dict imported       # handle -> RemoteRegion on the endpoint of LIFE
    cdef uint64_t life

    cdef RemoteRegion peer(self, Link link, uint64_t handle):
        cdef AgentLink own = link
        if self.life != own.life:
            self.imported.clear()
            self.life = own.life
        if handle >= <uint64_t>len(self.remote):
            raise ValueError(f"remote memory handle {handle} is not registered here")
        entry = self.remote[handle]
        if isinstance(entry, str):
            return own.region(entry)
        r = self.imported.get(handle)
        if r is None:
            if entry is None:
                raise ValueError(f"remote memory handle {handle} cannot be reached: the peer's "
                                 "entry had no 'slime' key; pass what get_mr_info() gave unchanged")
            r = own.import_region(entry)
            self.imported[handle] = r
        return r

    cdef Region ours(self, str name):
        handle = self.names.get(name)
        if handle is None or self.local[handle] is None:
            raise RuntimeError(f"Local memory region '{name}' is not registered")
        return self.local[handle]

    cdef Batch batch(self, Link link, bint reads, assign):
        cdef Batch b
        cdef object mine = None, theirs = None
        cdef slime_mr *mr = NULL
        cdef slime_rmr *rmr = NULL
        cdef Py_ssize_t i
        cdef slime_seg *s
        cdef tuple t
        if not assign or not isinstance(assign[0][0], str):
            return Table.batch(self, link, reads, assign)
        b = Batch.__new__(Batch)
        b.segs = b.few
        b.reads = reads
        b.room(len(assign))
        for i in range(<Py_ssize_t>b.n):
            t = assign[i]
            s = &b.segs[i]
            if t[0] != mine:
                mr = b.local(self.ours(t[0]))
                mine = t[0]
            if t[1] != theirs:
                rmr = (<AgentLink>link).region(t[1]).p
                theirs = t[1]
            set_seg(s, mr, rmr, u64(t[3], "local_offset"), u64(t[2], "remote_offset"),
                    u64(t[4], "length"))
        return b


cdef class LinkPort(Port):
    """A Port on a link of an agent. Made by Agent.connect() and Agent.links()."""

    def __init__(self):
        raise TypeError("links come from an Agent")

    cdef AgentLink own(self):
        return self.link

    @property
    def id(self):
        """Which link it is, among those of the agent."""
        return <uintptr_t>self.own().handle

    @property
    def peer(self):
        return self.look()["peer"]

    def look(self):
        """What the link is: a dict."""
        cdef AgentLink link = self.own()
        cdef slime_link_info info
        cdef int rc
        info.size = sizeof(info)
        link.ctx.check()
        if not link.handle:
            return {"state": "closed", "peer": "", "incarnation": 0, "reconnects": 0,
                    "transport": "", "device": "", "because": "the link is closed"}
        link.calls += 1
        with nogil:
            rc = slime_link_get_info(link.handle, &info)
        link.leave()
        if rc:
            raise _errors.make(rc, "the link tells nothing")
        return {"state": LINK_STATES[info.state], "peer": info.peer.decode("utf-8", "replace"),
                "incarnation": info.peer_incarnation, "reconnects": info.reconnects,
                "transport": info.transport.decode(), "device": info.device.decode(),
                "because": info.because.decode("utf-8", "replace")}

    @property
    def connected(self):
        self.own().bind()
        return self.link.state == CONNECTED

    @property
    def begun(self):
        return True

    def connect_wait(self, timeout):
        """None when the link is up; else, after TIMEOUT seconds, what it waits for."""
        cdef AgentLink link = self.own()
        cdef int64_t deadline = deadline_after(nanoseconds(timeout, "timeout"))
        cdef int64_t left
        while True:
            left = max(min(deadline - now_ns(), SLICE), 0)
            link.bind()
            if link.state == CONNECTED or link.connect_step(NULL, left):
                return None
            PyErr_CheckSignals()
            if now_ns() >= deadline:
                return link.failure

    def named(self, type cls not None, kind, list assign not None, imm=0, timeout=None):
        """Tuples (our region, the peer's, its offset, our offset, length), regions by name."""
        cdef AgentLink link = self.own()
        cdef Future f
        if not 0 <= kind <= WRITE_IMM:
            raise ValueError(f"kind is {kind!r}: it is read, write or write_imm")
        assign = list(assign)   # nobody else's from here on
        for t in assign:
            if type(t) is not tuple or len(<tuple>t) != 5 or type((<tuple>t)[0]) is not str \
                    or type((<tuple>t)[1]) is not str:
                raise TypeError("a transfer by name is what named_items() gave")
        f = link.make(cls, <Kind><int>kind)
        f.imm_value = <uint32_t>imm
        link.bind()
        f.later = (self.table, assign)
        if link.state == CONNECTED:
            try:
                f.batch = self.table.batch(link, f.kind == READ, assign)
                f.later = None
            except _errors.NotConnected:
                pass   # lost just now: it waits for the next endpoint
        return self.start(f, timeout)

    cdef one_sided(self, type cls, Kind kind, assign, uint32_t imm, note, timeout):
        self.own().bind()
        return Port.one_sided(self, cls, kind, assign, imm, note, timeout)


cdef tuple named_item(item):
    cdef Py_ssize_t n = len(item) if isinstance(item, (tuple, list)) else 0
    cdef Py_ssize_t at = n - 3
    if (n != 4 and n != 5) or not isinstance(item[0], str) or not isinstance(item[at - 1], str):
        raise TypeError("named RDMA assign must be (region, local_offset, remote_offset, length) or "
                        "(local_region, remote_region, local_offset, remote_offset, length), not "
                        f"{item!r:.80}")
    mine, theirs, length = item[at], item[at + 1], item[at + 2]
    u64(mine, "local_offset")
    u64(theirs, "remote_offset")
    u64(length, "length")
    return (item[0], item[at - 1], theirs, mine, length)


def named_items(assign):
    """The items of a transfer by name as LinkPort.named() takes them; None if ASSIGN is of numbers."""
    if isinstance(assign, tuple) and assign and isinstance(assign[0], str):
        return [named_item(assign)]
    if not isinstance(assign, (list, tuple)) or not assign:
        return None
    first = assign[0]
    if not isinstance(first, (list, tuple)) or not first or not isinstance(first[0], str):
        return None
    return [named_item(item) for item in assign]


cdef LinkPort port_of(Agent agent, slime_link *handle, uint32_t depth, list local, dict names):
    """Takes HANDLE over."""
    cdef AgentLink link = AgentLink.__new__(AgentLink)
    cdef LinkPort port = LinkPort.__new__(LinkPort)
    cdef LinkTable table = LinkTable.__new__(LinkTable)
    link.ctx = agent.ctx
    link.agent = agent
    link.handle = handle
    link.begin(depth)
    table.local, table.remote = local, []
    table.names, table.imported = names, {}
    port.table = table
    port.link = link
    return port


def close_agents():
    """At exit, before the links: nobody finds us any more."""
    for r in list(every_agent):
        agent = r()
        if agent is not None:
            (<Agent>agent).close()


def _register_agents_exit():
    import atexit

    atexit.register(close_agents)


_register_agents_exit()
