/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The C++ wrapper: examples/c/01_read.c again, in half the lines.
 *
 * No clean-up and no error paths to write: handles give themselves back, and
 * what fails throws slime::error with the library's sentence. Memory and
 * regions are declared before the endpoint, so that they outlive its transfers.
 *
 *	read [TRANSPORT]
 */
#include <cstdio>
#include <cstring>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <slime/slime.hpp>

using namespace std::chrono_literals;

namespace
{

const char text[] = "hello from the owner";

void give(int fd, const slime::desc &desc)
{
	if (send(fd, desc.view().data(), desc.view().size(), MSG_NOSIGNAL) < 0)
		throw slime::error(-errno, "cannot give a description to the other process");
}

slime::desc take(int fd)
{
	char bytes[SLIME_DESC_MAX];
	ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

	if (n <= 0)
		throw slime::error(-ECONNRESET, "the other process has gone");
	return slime::desc::from_bytes(bytes, static_cast<std::size_t>(n));
}

slime::endpoint meet(const slime::context &ctx, int fd, const char *transport)
{
	slime::endpoint::options opts;

	opts.transport = transport;
	slime::endpoint ep = ctx.make_endpoint(opts);
	give(fd, ep.describe());
	ep.connect(take(fd), 5s);
	return ep;
}

void owner(int fd, const char *transport)
{
	slime::context ctx = slime::context::create();
	slime::memory memory = ctx.alloc(1 << 20);
	slime::region region = ctx.register_memory(memory, slime::remote_read);
	char done;

	std::memcpy(memory.as<char>() + 4096, text, sizeof(text));
	slime::endpoint ep = meet(ctx, fd, transport);
	give(fd, region.describe());
	(void)recv(fd, &done, 1, 0); /* until the reader closes: reads are served without us */
}

void reader(int fd, const char *transport)
{
	slime::context ctx = slime::context::create();
	slime::memory memory = ctx.alloc(4096);
	slime::region mine = ctx.register_memory(memory);
	slime::endpoint ep = meet(ctx, fd, transport);
	slime::remote_region theirs = ep.import_region(take(fd));

	slime::result res = ep.read(slime::seg(mine, 0, theirs, 4096, 4096)).wait(5s);
	std::printf("read %llu bytes over %s: \"%s\"\n", static_cast<unsigned long long>(res.bytes),
	            ep.info().transport.c_str(), memory.as<char>());
	if (std::strcmp(memory.as<char>(), text) != 0)
		throw slime::error(-EBADMSG, "that is not what the owner wrote");
	if (std::fflush(stdout) != 0)
		throw slime::error(-errno, "cannot write to standard output");
}

} /* namespace */

int main(int argc, char **argv)
{
	const char *transport = argc > 1 ? argv[1] : nullptr;
	int fd[2], status = 0;
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fd) || (child = fork()) < 0)
		return 1;
	close(fd[child ? 1 : 0]);
	try {
		if (!child) {
			owner(fd[1], transport);
			return 0;
		}
		reader(fd[0], transport);
	} catch (const slime::error &e) {
		std::fprintf(stderr, "error: %s\n", e.what());
		status = 1;
	}
	close(fd[child ? 0 : 1]);
	int theirs = 0;
	if (child && waitpid(child, &theirs, 0) != child)
		return 1;
	return status || theirs;
}
