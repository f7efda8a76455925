/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/cpp/test_slime_hpp.cc - the C++ wrapper: every class, both spellings of every call, over
 * each transport that one process can use with itself, and every order of destruction.
 *
 * What the C API does is tested elsewhere; here it is that the wrapper says the same.
 */
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <functional>
#include <poll.h>
#include <thread>

#include <slime/slime.hpp>

using namespace std::chrono_literals;

namespace
{

int failures;
const char *where = "";

bool check(bool ok, const char *what, int line = __builtin_LINE())
{
	if (!ok) {
		std::printf("%s:%d: %s: not so: %s\n", __FILE__, line, where, what);
		failures++;
	}
	return ok;
}

/* The status that F throws, or 0. */
template <class F> int thrown(F f)
{
	try {
		f();
	} catch (const slime::error &e) {
		check(e.what()[0] != '\0', "an error has a sentence");
		check(e.code().value() == -e.status(), "code() is the errno");
		return e.status();
	}
	return 0;
}

template <class T> constexpr bool move_only()
{
	return !std::is_copy_constructible_v<T> && !std::is_copy_assignable_v<T> &&
	       std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T> &&
	       std::is_nothrow_default_constructible_v<T>;
}

static_assert(move_only<slime::context>());
static_assert(move_only<slime::memory>());
static_assert(move_only<slime::region>());
static_assert(move_only<slime::remote_region>());
static_assert(move_only<slime::endpoint>());
static_assert(move_only<slime::op>());
static_assert(move_only<slime::queue>());
static_assert(move_only<slime::transfer>());
static_assert(std::is_copy_constructible_v<slime::desc>);
static_assert(std::is_copy_constructible_v<slime::submit>);
static_assert(std::is_nothrow_copy_constructible_v<slime::error>);
static_assert(std::is_convertible_v<slime::error *, std::system_error *>);

constexpr std::size_t len = 64 << 10;

/* One of two peers. Memory before the endpoint: it must outlive the transfers. */
struct side {
	slime::context ctx;
	slime::memory mem;
	slime::region mr;
	slime::endpoint ep;
	slime::remote_region peer;

	explicit side(const char *transport)
	    : ctx(slime::context::create()), mem(ctx.alloc(len)),
	      mr(ctx.register_memory(mem, slime::remote_read_write))
	{
		slime::endpoint::options opts;

		opts.transport = transport;
		opts.depth = 8;
		ep = ctx.make_endpoint(opts);
	}
	char *bytes() const
	{
		return mem.as<char>();
	}
};

void connect(side &a, side &b)
{
	slime::desc of_a = a.ep.describe(), of_b = b.ep.describe();
	int there = -1;
	std::thread other([&] { there = b.ep.try_connect(of_a, 5s); });

	check(thrown([&] { a.ep.connect(of_b, 5s); }) == 0, "connect");
	other.join();
	check(there == 0, "try_connect");
	a.peer = a.ep.import_region(b.mr.describe());
	b.peer = b.ep.import_region(a.mr.describe());
}

void one_sided(side &a, side &b)
{
	slime::op op;
	slime::result res;

	std::strcpy(b.bytes() + 100, "read me");
	res = a.ep.read(slime::seg(a.mr, 0, a.peer, 100, 8)).wait(5s);
	check(res.status == 0 && res.bytes == 8, "the result of a read");
	check(!std::strcmp(a.bytes(), "read me"), "read");

	std::strcpy(a.bytes() + 200, "write me");
	check(a.ep.try_write(slime::seg(a.mr, 200, a.peer, 300, 9), {}, op) == 0, "try_write");
	check(static_cast<bool>(op), "a submitted op is not empty");
	check(op.try_wait(5s, &res) == 0 && res.bytes == 9, "try_wait");
	check(!std::strcmp(b.bytes() + 300, "write me"), "write");

	slime::op asked = b.ep.recv_imm();

	a.ep.write_imm(slime::seg(a.mr, 0, a.peer, 400, 8), 77).wait(5s);
	res = asked.wait(5s);
	check(res.imm == 77 && (res.flags & SLIME_RESULT_IMM), "the immediate");
	check(!std::strcmp(b.bytes() + 400, "read me"), "bytes before the immediate");

	bool counted = false;
	for (const slime::stats &s : a.ctx.statistics())
		counted = counted || (s.completed[0] == 1 && s.bytes_completed[0] == 8);
	check(counted, "statistics count one read of 8 bytes");
}

void batches(side &a, side &b)
{
	std::vector<slime_seg> list;
	std::array<slime_seg, 2> two{};

	for (unsigned i = 0; i < 4; i++) {
		std::memset(b.bytes() + 1000 + i * 100, 'a' + static_cast<int>(i), 10);
		list.push_back(slime::seg(a.mr, i * 10, a.peer, 1000 + i * 100, 10));
	}
	std::copy_n(list.begin(), 2, two.begin());
	check(a.ep.read(list).wait(5s).bytes == 40, "a vector");
	check(!std::memcmp(a.bytes() + 30, "dddddddddd", 10), "its last piece");
	check(a.ep.read(two).wait(5s).bytes == 20, "an array");
	check(a.ep.read({list[0], list[1], list[2]}).wait(5s).bytes == 30, "a list");
	check(a.ep.read({list[0]}).wait(5s).bytes == 10, "a list of one");
	check(a.ep.read({list.data(), 3}).wait(5s).bytes == 30, "pointer and count");

	std::memset(a.bytes(), 0, 40);
	check(a.ep.read(slime::strided(list[0], 4, 10, 100)).wait(5s).bytes == 40, "strided");
	check(!std::memcmp(a.bytes() + 20, "ccccccccccdddddddddd", 20), "the strided pieces");
}

void messages(side &a, side &b)
{
	slime::op in = b.ep.recv(slime::part(b.mr, 5000, 16)), out;

	std::strcpy(a.bytes(), "hello");
	check(a.ep.try_send(slime::part(a.mr, 0, 6), {}, out) == 0, "try_send");
	check(in.wait(5s).bytes == 6 && !std::strcmp(b.bytes() + 5000, "hello"), "recv");
	check(out.try_wait(5s) == 0, "send");
}

void prepared(side &a, side &b)
{
	slime::transfer push =
	    a.ep.prepare(SLIME_DIR_WRITE, {slime::seg(a.mr, 0, a.peer, 6000, 4)});
	slime::op op;

	for (const char *text : {"one", "two"}) {
		std::strcpy(a.bytes(), text);
		push.post().wait(5s);
		check(!std::strcmp(b.bytes() + 6000, text), text);
	}
	check(push.try_post(slime::submit(), op) == 0 && op.try_wait(5s) == 0, "try_post");
	check(thrown([&] { a.ep.prepare(SLIME_DIR_READ, slime::seg(a.mr, 0, a.peer, len, 1)); }) ==
	          -ERANGE,
	      "prepare checks the segments");
}

void queues(side &a, side &)
{
	slime::queue q = a.ctx.make_queue(2);
	slime::submit how = slime::submit().report_to(q, 41);
	slime::op none;
	slime::result res{};
	pollfd wake = {q.fd(), POLLIN, 0};

	check(q.try_take(&res, 1) == 0 && q.take().empty(), "an empty queue");
	check(q.try_wait(&res, 1, 1ms) == -ETIMEDOUT, "nothing to wait for");
	check(thrown([&] { q.wait(1ms); }) == -ETIMEDOUT, "nor to throw for");
	none = a.ep.recv_imm(how);
	check(!none, "an op that reports to a queue is empty");
	check(a.ep.try_recv_imm(how.report_to(q, 42), none) == 0 && !none, "nor the twin's");
	check(a.ep.try_recv_imm(how, none) == -EAGAIN, "a full queue says so");
	check(thrown([&] { a.ep.recv_imm(how); }) == -EAGAIN, "in both ways");
	a.ep.close();
	check(poll(&wake, 1, 5000) == 1, "the eventfd wakes up");
	res = q.wait(5s);
	check(res.status == -ECANCELED && res.user_data == 41, "the first one");
	check(q.try_wait(&res, 1, 5s) == 1 && res.user_data == 42, "the second one");
}

void time_and_errors(side &a, side &b)
{
	slime::op op = a.ep.recv_imm();

	check(op.try_wait(0s) == -ETIMEDOUT, "not yet");
	check(thrown([&] { op.wait(1ms); }) == -ETIMEDOUT, "not yet, thrown");
	op.cancel();
	check(thrown([&] { op.wait(5s); }) == -ECANCELED, "cancelled");
	op = a.ep.recv_imm(slime::submit().timeout(10ms));
	check(thrown([&] { op.wait(5s); }) == -ETIME, "past its deadline");

	slime_seg beyond = slime::seg(a.mr, 0, a.peer, len - 1, 2);

	check(a.ep.try_read(beyond, {}, op) == -ERANGE, "out of the region");
	check(thrown([&] { a.ep.read(beyond); }) == -ERANGE, "thrown");

	side third(nullptr);

	check(thrown([&] { b.ep.connect(third.ep.describe(), 1s); }) == -EISCONN, "has a peer");
	try {
		a.ep.import_region(slime::desc::from_bytes("nonsense"));
		check(false, "nonsense is no region");
	} catch (const std::system_error &e) {
		check(e.code() == std::errc::protocol_error, "comparable with std::errc");
		check(std::strstr(e.what(), "Protocol error") == nullptr, "the library's sentence");
	}
}

void over(const char *transport, void (*test)(side &, side &))
{
	side a(transport), b(transport);

	connect(a, b);
	slime::endpoint_info info = a.ep.info();
	check(info.transport == transport, "the transport that was asked for");
	check(info.lanes > 0 && !info.peer.empty(), "info is filled");
	test(a, b);
}

/* Every rotation of one order and of its reverse, so that each object goes before each other. */
void any_order_of_destruction(const char *transport)
{
	for (std::size_t turn = 0; turn < 18; turn++) {
		side a(transport), b(transport);
		connect(a, b);

		slime::queue q = a.ctx.make_queue(4);
		slime::transfer push =
		    a.ep.prepare(SLIME_DIR_WRITE, slime::seg(a.mr, 0, a.peer, 0, 8));
		slime::op done = a.ep.read(slime::seg(a.mr, 0, a.peer, 0, 8));
		slime::op going = a.ep.recv_imm();

		done.wait(5s);
		a.ep.recv_imm(slime::submit().report_to(q, 1));
		std::vector<std::function<void()>> drop = {
		    [&] { a.ctx = {}; }, [&] { a.mem = {}; },  [&] { a.mr = {}; },
		    [&] { a.ep = {}; },  [&] { a.peer = {}; }, [&] { q = {}; },
		    [&] { push = {}; },  [&] { done = {}; },   [&] { going = {}; },
		};
		if (turn >= drop.size())
			std::reverse(drop.begin(), drop.end());
		std::rotate(drop.begin(), drop.begin() + static_cast<long>(turn % drop.size()),
		            drop.end());
		for (auto &one : drop)
			one();
		check(!a.ctx && !a.mem && !a.mr && !a.ep && !a.peer && !q && !push && !done &&
		          !going,
		      "assigning an empty object empties");
	}
}

void descriptions()
{
	side a(nullptr);
	slime::desc one = a.ep.describe(), two;
	std::vector<std::uint8_t> bytes = one.to_bytes();
	slime_error err{};

	check(!bytes.empty() && bytes.size() == one.view().size(), "as bytes and as a view");
	two = slime::desc::from_bytes(bytes);
	check(two.view() == one.view(), "there and back");
	check(slime::desc::from_bytes(one.view()).to_bytes() == bytes, "from a view");
	bytes.resize(SLIME_DESC_MAX + 1);
	check(thrown([&] { slime::desc::from_bytes(bytes); }) == -EPROTO, "too long");
	check(slime::desc::try_from_bytes(bytes.data(), bytes.size(), two, &err) == -EPROTO &&
	          err.code == -EPROTO && err.text[0] && two.view() == one.view(),
	      "the twin says why and leaves the output alone");
}

void unconnected()
{
	side a(nullptr);
	slime::op op;
	slime_ep_info info;

	check(a.ep.try_recv_imm({}, op) == -ENOTCONN && !op, "no transfer before connect");
	check(a.ep.try_info(info) == -ENOTCONN, "no info before connect");
	check(thrown([&] { a.ep.info(); }) == -ENOTCONN, "nor thrown");
	check(thrown([&] { a.ep.connect(slime::desc(), 1s); }) == -EPROTO, "nothing to connect to");
	check(thrown([&] { a.ctx.progress(); }) == -EPERM, "progress is the library's");
}

void contexts()
{
	slime::context::options by_hand, wrong;
	slime::context ctx, other;
	slime_error err{};

	by_hand.flags = SLIME_CTX_MANUAL_PROGRESS;
	check(slime::context::try_create(by_hand, ctx, &err) == 0, err.text);
	check(ctx.progress() == 0, "no progress where nothing goes on");
	wrong.size = 1;
	check(thrown([&] { slime::context::create(wrong); }) == -EINVAL, "a wrong size");
	other = std::move(ctx);
	check(!ctx && other, "moving moves"); // NOLINT: looks at a moved-from object on purpose
	check(!other.devices().empty(), "devices");
	check(other.statistics().empty(), "no statistics of devices that were never opened");
	check(std::string(slime::version()).find('.') != std::string::npos, "a version");
}

bool usable(const slime::context &ctx, const char *transport)
{
	const char *why = nullptr;
	std::vector<slime::device> devices = ctx.devices();

	for (const slime::device &dev : devices) {
		if (!std::strcmp(dev.transport, transport)) {
			if (!dev.status)
				return true;
			why = dev.reason;
		}
	}
	if (check(why != nullptr, "each transport is listed, usable or not"))
		std::printf("%s: skipped: %s\n", transport, why);
	return false;
}

} /* namespace */

int main()
{
	struct test {
		const char *name;
		void (*run)(side &, side &);
	};
	const test tests[] = {
	    {"one_sided", one_sided}, {"batches", batches}, {"messages", messages},
	    {"prepared", prepared},   {"queues", queues},   {"time_and_errors", time_and_errors},
	};
	slime::context ctx = slime::context::create();

	where = "no transport";
	descriptions();
	unconnected();
	contexts();
	for (const char *transport : {"loopback", "shm", "tcp"}) {
		if (!usable(ctx, transport))
			continue;
		where = transport;
		for (const test &t : tests) {
			std::printf("%s: %s\n", transport, t.name);
			try {
				over(transport, t.run);
			} catch (const std::exception &e) {
				check(false, e.what());
			}
		}
		std::printf("%s: any order of destruction\n", transport);
		try {
			any_order_of_destruction(transport);
		} catch (const std::exception &e) {
			check(false, e.what());
		}
	}
	std::printf("%s\n", failures ? "FAILED" : "ok");
	return failures ? 1 : 0;
}
