/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * slime/slime.hpp - the C API for C++17: handles that clean up after themselves.
 *
 * Header only. Nothing here but ownership and spelling: the comments of the C
 * headers hold for everything that is not said anew. Every class but desc and
 * submit is a move-only owner of one C handle; get() lends that handle to the
 * C functions; a default-constructed or moved-from object is empty, and only
 * assigning to it, destroying it and testing it are allowed.
 *
 * Errors. A function that can fail comes twice. The plain one throws
 * slime::error. Its twin try_...() returns 0 or a negative errno (set-up also
 * takes a slime_error for the sentence) and writes its outputs on success only:
 * use it for what is not exceptional, such as -EAGAIN of a full endpoint. With
 * -fno-exceptions only the twins exist.
 *
 * Order. Objects may be destroyed in any order. What no handle can do for you:
 * memory must outlive the transfers that use it. ~endpoint() ends them all and
 * waits for it, so declare the memory first and the endpoint after it.
 */
#ifndef SLIME_SLIME_HPP
#define SLIME_SLIME_HPP

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <slime/slime.h>

#if defined(__cpp_exceptions) || defined(__EXCEPTIONS)
#define SLIME_HPP_THROWS 1
#else
#define SLIME_HPP_THROWS 0
#endif

namespace slime
{

using result = ::slime_result;
using device = ::slime_device;
using stats = ::slime_stats;
using span = ::slime_span;
using nanoseconds = std::chrono::nanoseconds;

/* The timeout that never comes. Any other duration converts by itself: 5s, 20ms. */
inline constexpr nanoseconds forever{SLIME_FOREVER};

/* What a peer may do with a region. */
inline constexpr std::uint32_t local_only = 0;
inline constexpr std::uint32_t remote_read = SLIME_ACCESS_REMOTE_READ;
inline constexpr std::uint32_t remote_write = SLIME_ACCESS_REMOTE_WRITE;
inline constexpr std::uint32_t remote_read_write = SLIME_ACCESS_REMOTE;

/* Version of the library that is loaded. */
inline const char *version() noexcept
{
	return ::slime_version();
}

/* A call that failed: code() compares with std::errc, what() is the library's sentence. */
class error : public std::system_error
{
      public:
	error(int rc, const char *sentence)
	    : std::system_error(-rc, std::generic_category()), reason_{rc, {}}
	{
		std::snprintf(reason_.text, sizeof(reason_.text), "%s", sentence);
	}
	const char *what() const noexcept override
	{
		return reason_.text;
	}
	/* The negative errno, as the C function returned it. */
	int status() const noexcept
	{
		return reason_.code;
	}

      private:
	slime_error reason_;
};

namespace detail
{

template <auto Function> struct give_back {
	template <class T> void operator()(T *handle) const noexcept
	{
		Function(handle);
	}
};

/* What every class below is: the move-only owner of one C handle. */
template <class T, class Give_back> class owner
{
      public:
	owner() noexcept = default;
	explicit owner(T *owned, Give_back how = Give_back()) noexcept
	    : handle_(owned, std::move(how))
	{
	}
	T *get() const noexcept
	{
		return handle_.get();
	}
	explicit operator bool() const noexcept
	{
		return handle_ != nullptr;
	}

      private:
	std::unique_ptr<T, Give_back> handle_;
};

/* Let CALL make a C handle, and give it to OUT. No handle is no change: it went to a queue. */
template <class Handle, class Object, class Call> int adopt(Object &out, Call call)
{
	Handle *raw = nullptr;
	int rc = call(&raw);

	if (!rc && raw)
		out = Object(raw);
	return rc;
}

#if SLIME_HPP_THROWS
inline int check(int rc, const char *sentence)
{
	if (rc < 0)
		throw error(rc, sentence);
	return rc;
}

/* The value that CALL puts into its first argument, or its sentence thrown. */
template <class T, class Call> T made(Call call)
{
	slime_error err{};
	T out;

	check(call(out, &err), err.text);
	return out;
}

/* Why a submission was refused: there the C functions have no sentence. */
inline std::string refusal(int rc)
{
	switch (rc) {
	case -EAGAIN:
		return "the endpoint or the queue is full, take completions first";
	case -ENOTCONN:
		return "the endpoint is not connected";
	case -ECANCELED:
		return "the endpoint is closed";
	case -ECONNRESET:
		return "the peer went away";
	case -ERANGE:
		return "a segment leaves its region";
	case -EACCES:
		return "the region does not give that right";
	case -EBUSY:
		return "its last post is not over";
	default:
		return std::generic_category().message(-rc);
	}
}

/* The op that CALL puts into its argument, or the refusal thrown. */
template <class Op, class Call> Op submitted(const char *what, Call call)
{
	Op out;
	int rc = call(out);

	if (rc < 0)
		throw error(rc, (what + (" refused: " + refusal(rc))).c_str());
	return out;
}
#endif

} /* namespace detail */

/*
 * A description: bytes to carry to the peer by any means. A plain value. It
 * grants access to what it describes, so treat it as a password.
 */
class desc
{
      public:
	desc() noexcept : desc_()
	{
	}
	std::string_view view() const noexcept
	{
		return {reinterpret_cast<const char *>(desc_.bytes), desc_.len};
	}
	std::vector<std::uint8_t> to_bytes() const
	{
		return {desc_.bytes, desc_.bytes + desc_.len};
	}

	/* Take what came from the peer. -EPROTO: longer than any description. */
	static int try_from_bytes(const void *bytes, std::size_t len, desc &out,
	                          slime_error *err = nullptr) noexcept
	{
		if (len > SLIME_DESC_MAX) {
			if (err) {
				err->code = -EPROTO;
				std::snprintf(err->text, sizeof(err->text),
				              "a description has at most %d bytes, not %zu",
				              SLIME_DESC_MAX, len);
			}
			return -EPROTO;
		}
		out.desc_.len = static_cast<std::uint32_t>(len);
		if (len)
			std::memcpy(out.desc_.bytes, bytes, len);
		return 0;
	}
#if SLIME_HPP_THROWS
	static desc from_bytes(const void *bytes, std::size_t len)
	{
		return detail::made<desc>([&](desc &out, slime_error *err) {
			return try_from_bytes(bytes, len, out, err);
		});
	}
	static desc from_bytes(std::string_view bytes)
	{
		return from_bytes(bytes.data(), bytes.size());
	}
	static desc from_bytes(const std::vector<std::uint8_t> &bytes)
	{
		return from_bytes(bytes.data(), bytes.size());
	}
#endif
	const slime_desc *get() const noexcept
	{
		return &desc_;
	}
	slime_desc *get() noexcept
	{
		return &desc_;
	}

      private:
	slime_desc desc_;
};

/*
 * A transfer under way. Letting go of it does not end it: it goes on, and
 * nobody looks. One thread at a time waits.
 */
class op : public detail::owner<slime_op, detail::give_back<::slime_op_release>>
{
      public:
	using owner::owner;

	/* The status of the transfer, or -ETIMEDOUT: not yet. A zero timeout only looks. */
	int try_wait(nanoseconds timeout = forever, result *res = nullptr) noexcept
	{
		return ::slime_op_wait(get(), timeout.count(), res);
	}
#if SLIME_HPP_THROWS
	/* Throws what ended the transfer, or std::errc::timed_out if it is still going. */
	result wait(nanoseconds timeout = forever)
	{
		result res{};
		int rc = try_wait(timeout, &res);

		if (rc == -ETIMEDOUT)
			throw error(rc, "the transfer is not over yet");
		if (rc < 0)
			throw error(
			    rc, ("the transfer ended with: " + std::generic_category().message(-rc))
				    .c_str());
		return res;
	}
#endif
	/* Ask it to end now: it completes with -ECANCELED, or with what it already had. */
	void cancel() noexcept
	{
		::slime_op_cancel(get());
	}
};

/*
 * Completions of many transfers in one place: see submit::report_to(). Any
 * thread may submit to it, one at a time takes.
 */
class queue : public detail::owner<slime_cq, detail::give_back<::slime_cq_destroy>>
{
      public:
	using owner::owner;

	/* Take up to N results that are there already, and return how many. */
	int try_take(result *res, std::size_t n) noexcept
	{
		return ::slime_cq_take(get(), res, n);
	}
	/* As try_take(), but wait for the first. -ETIMEDOUT: none came. */
	int try_wait(result *res, std::size_t n, nanoseconds timeout = forever) noexcept
	{
		return ::slime_cq_wait(get(), res, n, timeout.count());
	}
	/* The queue's eventfd: readable while there may be something to take. */
	int try_fd() noexcept
	{
		return ::slime_cq_fd(get());
	}
#if SLIME_HPP_THROWS
	/* Up to MAX results, as many as are there. */
	std::vector<result> take(std::size_t max = 64)
	{
		std::vector<result> out(max);

		out.resize(static_cast<std::size_t>(
		    detail::check(try_take(out.data(), max), "cannot take completions")));
		return out;
	}
	/* The next result, whatever its status. Throws std::errc::timed_out if none came. */
	result wait(nanoseconds timeout = forever)
	{
		result res{};

		detail::check(try_wait(&res, 1, timeout), "no completion came");
		return res;
	}
	int fd()
	{
		return detail::check(try_fd(), "cannot make the eventfd of the queue");
	}
#endif
};

/*
 * How to run and report a transfer: submit().timeout(1s).fence(). A plain
 * value, good for any number of transfers; it borrows the queue.
 */
class submit
{
      public:
	submit() noexcept : how_()
	{
		how_.size = sizeof(how_);
	}

	/* From submission; past it the transfer ends with -ETIME. */
	submit &timeout(nanoseconds after) noexcept
	{
		how_.timeout_ns = after.count();
		return *this;
	}
	/* Start after everything submitted before on the endpoint. */
	submit &fence() noexcept
	{
		how_.flags |= SLIME_SUBMIT_FENCE;
		return *this;
	}
	/* Complete into Q and not into an op: the op that comes back is empty. */
	submit &report_to(queue &q, std::uint64_t user_data = 0) noexcept
	{
		how_.cq = q.get();
		how_.user_data = user_data;
		return *this;
	}
	/* Device stream to start after. */
	submit &stream(void *device_stream) noexcept
	{
		how_.stream = device_stream;
		return *this;
	}
	const slime_submit *get() const noexcept
	{
		return &how_;
	}

      private:
	slime_submit how_;
};

/*
 * Memory that shm moves without the kernel: zeroed, page aligned. Freed when
 * this object and the regions made from it are gone. Any thread.
 */
class memory
{
      public:
	struct options : slime_mem_opts {
		options() noexcept : slime_mem_opts()
		{
			size = sizeof(slime_mem_opts);
		}
	};

	memory() noexcept = default;
	memory(std::shared_ptr<void> block, std::size_t size) noexcept
	    : block_(std::move(block)), size_(size)
	{
	}
	memory(memory &&) noexcept = default;
	memory &operator=(memory &&) noexcept = default;

	void *data() const noexcept
	{
		return block_.get();
	}
	template <class T> T *as() const noexcept
	{
		return static_cast<T *>(block_.get());
	}
	std::size_t size() const noexcept
	{
		return size_;
	}
	const std::shared_ptr<void> &share() const noexcept
	{
		return block_;
	}
	explicit operator bool() const noexcept
	{
		return block_ != nullptr;
	}

      private:
	std::shared_ptr<void> block_;
	std::size_t size_ = 0;
};

namespace detail
{

/* A region of the library's own memory lets go of the memory after itself. */
struct deregister {
	std::shared_ptr<void> block;

	void operator()(slime_mr *mr) const noexcept
	{
		::slime_mr_deregister(mr);
	}
};

} /* namespace detail */

/* Memory that transfers may use. Immutable, so any thread. */
class region : public detail::owner<slime_mr, detail::deregister>
{
      public:
	struct options : slime_mr_opts {
		/* HOW: slime_mr_flags; SLIME_MR_CHECKED for memory that others may unmap */
		explicit options(std::uint32_t rights = local_only, std::uint32_t how = 0) noexcept
		    : slime_mr_opts()
		{
			size = sizeof(slime_mr_opts);
			access = rights;
			flags = how;
		}
	};
	using owner::owner;

	/* Describe it for a peer to import. */
	int try_describe(desc &out, slime_error *err = nullptr) const noexcept
	{
		return ::slime_mr_export(get(), out.get(), err);
	}
#if SLIME_HPP_THROWS
	desc describe() const
	{
		return detail::made<desc>(
		    [&](desc &out, slime_error *err) { return try_describe(out, err); });
	}
#endif
};

/* A peer's memory, for the endpoint that imported it. Immutable, so any thread. */
class remote_region : public detail::owner<slime_rmr, detail::give_back<::slime_rmr_release>>
{
      public:
	using owner::owner;
};

/* LEN bytes between LOCAL and REMOTE, for reads and writes. Borrows both. */
inline slime_seg seg(const region &local, std::uint64_t local_off, const remote_region &remote,
                     std::uint64_t remote_off, std::uint64_t len) noexcept
{
	slime_seg s{};

	s.local = local.get();
	s.remote = remote.get();
	s.local_off = local_off;
	s.remote_off = remote_off;
	s.len = len;
	return s;
}

/* ONE, COUNT times: piece i is i * LOCAL_STRIDE and i * REMOTE_STRIDE bytes further on. */
inline slime_seg strided(slime_seg one, std::uint64_t count, std::uint64_t local_stride,
                         std::uint64_t remote_stride) noexcept
{
	one.count = count;
	one.local_stride = local_stride;
	one.remote_stride = remote_stride;
	return one;
}

/* LEN bytes of MR from OFF on, for messages. Borrows it. */
inline span part(const region &mr, std::uint64_t off, std::uint64_t len) noexcept
{
	return {mr.get(), off, len};
}

/* A parameter: one segment, {a, b, c}, a vector or array of them, or pointer and count. */
class segments
{
      public:
	segments(const slime_seg &one) noexcept : first_(&one), n_(1)
	{
	}
	segments(std::initializer_list<slime_seg> list) noexcept : n_(list.size())
	{
		first_ = list.begin(); /* lives until the end of the call's statement */
	}
	segments(const slime_seg *first, std::size_t n) noexcept : first_(first), n_(n)
	{
	}
	template <class List, class = decltype(std::declval<const List &>().data())>
	segments(const List &list) noexcept : first_(list.data()), n_(list.size())
	{
	}
	const slime_seg *data() const noexcept
	{
		return first_;
	}
	std::size_t size() const noexcept
	{
		return n_;
	}

      private:
	const slime_seg *first_;
	std::size_t n_;
};

namespace detail
{

/* CALL(how, out) submits; OUT stays as it is if HOW reports to a queue. */
template <class Call> int post(const submit &how, op &out, Call call)
{
	return adopt<slime_op>(
	    out, [&](slime_op **raw) { return call(how.get(), how.get()->cq ? nullptr : raw); });
}

} /* namespace detail */

/* A transfer checked and split once, and posted again and again. One post at a time. */
class transfer : public detail::owner<slime_xfer, detail::give_back<::slime_xfer_release>>
{
      public:
	using owner::owner;

	int try_post(const submit &how, op &out) noexcept
	{
		return detail::post(how, out, [&](const slime_submit *h, slime_op **raw) {
			return ::slime_xfer_post(get(), h, raw);
		});
	}
#if SLIME_HPP_THROWS
	op post(const submit &how = submit())
	{
		return detail::submitted<op>("post", [&](op &out) { return try_post(how, out); });
	}
#endif
};

/* What carries an endpoint, and why. */
struct endpoint_info {
	std::uint32_t lanes = 0;
	std::string transport; /* "shm" */
	std::string device;
	std::string because; /* one sentence for each transport refused, and the reason */
	std::string peer;    /* "host:pid" */
};

/*
 * One connection to one peer. Any thread submits; connecting and destroying
 * belong to one. Destroying closes it and waits for the last completion.
 */
class endpoint : public detail::owner<slime_ep, detail::give_back<::slime_ep_destroy>>
{
      public:
	struct options : slime_ep_opts {
		options() noexcept : slime_ep_opts()
		{
			size = sizeof(slime_ep_opts);
		}
	};
	using owner::owner;

	/* Set-up: describe() to the peer, connect() to what it describes, import its regions. */
	int try_describe(desc &out, slime_error *err = nullptr) const noexcept
	{
		return ::slime_ep_export(get(), out.get(), err);
	}
	int try_connect(const desc &peer, nanoseconds timeout, slime_error *err = nullptr) noexcept
	{
		return ::slime_ep_connect(get(), peer.get(), timeout.count(), err);
	}
	int try_import_region(const desc &of, remote_region &out,
	                      slime_error *err = nullptr) noexcept
	{
		return detail::adopt<slime_rmr>(out, [&](slime_rmr **raw) {
			return ::slime_ep_import(get(), of.get(), raw, err);
		});
	}
	int try_prepare(slime_dir dir, segments segs, transfer &out,
	                slime_error *err = nullptr) noexcept
	{
		return detail::adopt<slime_xfer>(out, [&](slime_xfer **raw) {
			return ::slime_xfer_prepare(get(), dir, segs.data(), segs.size(), raw, err);
		});
	}
	/* The strings in OUT live as long as the endpoint. -ENOTCONN. */
	int try_info(slime_ep_info &out) const noexcept
	{
		out = slime_ep_info();
		out.size = sizeof(out);
		return ::slime_ep_get_info(get(), &out);
	}

	/* Submit: 0, or refused and nothing done. OUT stays as it is if HOW has a queue. */
	int try_read(segments segs, const submit &how, op &out) noexcept
	{
		return detail::post(how, out, [&](const slime_submit *h, slime_op **raw) {
			return ::slime_ep_read(get(), segs.data(), segs.size(), h, raw);
		});
	}
	int try_write(segments segs, const submit &how, op &out) noexcept
	{
		return detail::post(how, out, [&](const slime_submit *h, slime_op **raw) {
			return ::slime_ep_write(get(), segs.data(), segs.size(), h, raw);
		});
	}
	int try_write_imm(segments segs, std::uint32_t imm, const submit &how, op &out) noexcept
	{
		return detail::post(how, out, [&](const slime_submit *h, slime_op **raw) {
			return ::slime_ep_write_imm(get(), segs.data(), segs.size(), imm, h, raw);
		});
	}
	int try_recv_imm(const submit &how, op &out) noexcept
	{
		return detail::post(how, out, [&](const slime_submit *h, slime_op **raw) {
			return ::slime_ep_recv_imm(get(), h, raw);
		});
	}
	int try_send(const span &src, const submit &how, op &out) noexcept
	{
		return detail::post(how, out, [&](const slime_submit *h, slime_op **raw) {
			return ::slime_ep_send(get(), &src, h, raw);
		});
	}
	int try_recv(const span &dst, const submit &how, op &out) noexcept
	{
		return detail::post(how, out, [&](const slime_submit *h, slime_op **raw) {
			return ::slime_ep_recv(get(), &dst, h, raw);
		});
	}

#if SLIME_HPP_THROWS
	desc describe() const
	{
		return detail::made<desc>(
		    [&](desc &out, slime_error *err) { return try_describe(out, err); });
	}
	void connect(const desc &peer, nanoseconds timeout)
	{
		slime_error err{};

		detail::check(try_connect(peer, timeout, &err), err.text);
	}
	remote_region import_region(const desc &of)
	{
		return detail::made<remote_region>([&](remote_region &out, slime_error *err) {
			return try_import_region(of, out, err);
		});
	}
	transfer prepare(slime_dir dir, segments segs)
	{
		return detail::made<transfer>([&](transfer &out, slime_error *err) {
			return try_prepare(dir, segs, out, err);
		});
	}
	endpoint_info info() const
	{
		slime_ep_info raw;

		detail::check(try_info(raw), "the endpoint is not connected");
		return {raw.lanes, raw.transport, raw.device, raw.because, raw.peer};
	}
	op read(segments segs, const submit &how = submit())
	{
		return detail::submitted<op>("read",
		                             [&](op &out) { return try_read(segs, how, out); });
	}
	op write(segments segs, const submit &how = submit())
	{
		return detail::submitted<op>("write",
		                             [&](op &out) { return try_write(segs, how, out); });
	}
	op write_imm(segments segs, std::uint32_t imm, const submit &how = submit())
	{
		return detail::submitted<op>(
		    "write_imm", [&](op &out) { return try_write_imm(segs, imm, how, out); });
	}
	op recv_imm(const submit &how = submit())
	{
		return detail::submitted<op>("recv_imm",
		                             [&](op &out) { return try_recv_imm(how, out); });
	}
	op send(const span &src, const submit &how = submit())
	{
		return detail::submitted<op>("send",
		                             [&](op &out) { return try_send(src, how, out); });
	}
	op recv(const span &dst, const submit &how = submit())
	{
		return detail::submitted<op>("recv",
		                             [&](op &out) { return try_recv(dst, how, out); });
	}
#endif
	/* Refuse new work and cancel what is in flight. Does not block. Any thread. */
	void close() noexcept
	{
		::slime_ep_close(get());
	}
};

/*
 * The root: everything is made from it and keeps what it needs of it. Any
 * thread. Its try_...() may throw std::bad_alloc, as any set-up may.
 */
class context
{
      public:
	struct options : slime_ctx_opts {
		options() noexcept : slime_ctx_opts()
		{
			size = sizeof(slime_ctx_opts);
		}
	};

	context() noexcept = default; /* empty; create() makes one */
	context(context &&) noexcept = default;
	context &operator=(context &&) noexcept = default;

	static int try_create(const options &opts, context &out, slime_error *err = nullptr)
	{
		slime_ctx *raw = nullptr;
		int rc = ::slime_ctx_create(&opts, &raw, err);

		if (!rc)
			out.handle_.reset(raw, ::slime_ctx_destroy);
		return rc;
	}
	int try_endpoint(const endpoint::options &opts, endpoint &out,
	                 slime_error *err = nullptr) const noexcept
	{
		return detail::adopt<slime_ep>(
		    out, [&](slime_ep **raw) { return ::slime_ep_create(get(), &opts, raw, err); });
	}
	int try_queue(std::uint32_t depth, queue &out, slime_error *err = nullptr) const noexcept
	{
		return detail::adopt<slime_cq>(
		    out, [&](slime_cq **raw) { return ::slime_cq_create(get(), depth, raw, err); });
	}
	/* The block keeps the context, which is what gives it back. */
	int try_alloc(std::size_t len, const memory::options &opts, memory &out,
	              slime_error *err = nullptr) const
	{
		void *raw = nullptr;
		int rc = ::slime_mem_alloc(get(), len, &opts, &raw, err);
		auto free = [ctx = handle_](void *addr) { ::slime_mem_free(ctx.get(), addr); };

		if (!rc)
			out = memory(std::shared_ptr<void>(raw, free), len);
		return rc;
	}
	/* Memory of your own: it must stay until the region and its transfers are gone. */
	int try_register(void *addr, std::size_t len, const region::options &opts, region &out,
	                 slime_error *err = nullptr) const noexcept
	{
		return detail::adopt<slime_mr>(out, [&](slime_mr **raw) {
			return ::slime_mr_register(get(), addr, len, &opts, raw, err);
		});
	}
	/* Memory of the library: the region keeps it. */
	int try_register(const memory &mem, const region::options &opts, region &out,
	                 slime_error *err = nullptr) const noexcept
	{
		slime_mr *raw = nullptr;
		int rc = ::slime_mr_register(get(), mem.data(), mem.size(), &opts, &raw, err);

		if (!rc)
			out = region(raw, detail::deregister{mem.share()});
		return rc;
	}
	/* Only with SLIME_CTX_MANUAL_PROGRESS: move transfers along; how many completed. */
	int try_progress() const noexcept
	{
		return ::slime_ctx_progress(get());
	}

#if SLIME_HPP_THROWS
	static context create(const options &opts = options())
	{
		return detail::made<context>(
		    [&](context &out, slime_error *err) { return try_create(opts, out, err); });
	}
	endpoint make_endpoint(const endpoint::options &opts = endpoint::options()) const
	{
		return detail::made<endpoint>(
		    [&](endpoint &out, slime_error *err) { return try_endpoint(opts, out, err); });
	}
	queue make_queue(std::uint32_t depth) const
	{
		return detail::made<queue>(
		    [&](queue &out, slime_error *err) { return try_queue(depth, out, err); });
	}
	memory alloc(std::size_t len, const memory::options &opts = memory::options()) const
	{
		return detail::made<memory>(
		    [&](memory &out, slime_error *err) { return try_alloc(len, opts, out, err); });
	}
	region register_memory(void *addr, std::size_t len, std::uint32_t rights = local_only) const
	{
		return detail::made<region>([&](region &out, slime_error *err) {
			return try_register(addr, len, region::options(rights), out, err);
		});
	}
	region register_memory(const memory &mem, std::uint32_t rights = local_only) const
	{
		return detail::made<region>([&](region &out, slime_error *err) {
			return try_register(mem, region::options(rights), out, err);
		});
	}
	int progress() const
	{
		return detail::check(try_progress(), "the context makes progress by itself");
	}
	/* Every device, usable or not, best first. */
	std::vector<device> devices() const
	{
		return list<device>(::slime_ctx_devices, "cannot list the devices");
	}
	std::vector<stats> statistics() const
	{
		return list<stats>(::slime_ctx_stats, "cannot read the statistics");
	}
#endif
	explicit operator bool() const noexcept
	{
		return handle_ != nullptr;
	}
	slime_ctx *get() const noexcept
	{
		return handle_.get();
	}

      private:
#if SLIME_HPP_THROWS
	template <class T, class Fill> std::vector<T> list(Fill fill, const char *what) const
	{
		std::vector<T> out(8);
		std::size_t n;

		while ((n = static_cast<std::size_t>(
			    detail::check(fill(get(), out.data(), out.size()), what))) > out.size())
			out.resize(n);
		out.resize(n);
		return out;
	}
#endif
	std::shared_ptr<slime_ctx> handle_;
};

} /* namespace slime */

#endif
