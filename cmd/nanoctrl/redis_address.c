/* SPDX-License-Identifier: BSD-3-Clause */
#include "redis_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char scheme[] = "redis://";

static const char *without_scheme(const char *url)
{
	return strncmp(url, scheme, sizeof(scheme) - 1) ? url : url + sizeof(scheme) - 1;
}

static bool begins_with(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

static bool is_local(const char *address)
{
	return begins_with(address, "127.0.0.1") || begins_with(address, "localhost");
}

/* The port of "host:port/db". */
static int port_of(const char *address)
{
	const char *colon = strchr(address, ':');
	int port = colon ? atoi(colon + 1) : 0;

	return port > 0 && port <= UINT16_MAX ? port : 6379;
}

/* What is behind host and port: "/db", or nothing. */
static const char *db_of(const char *address)
{
	return address + strcspn(address, "/");
}

/* The address of ours from which PEER, "1.2.3.4" or "1.2.3.4:5", would be reached. */
static bool route_to(const char *peer, char out[INET_ADDRSTRLEN])
{
	struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons(80)}, here;
	socklen_t len = sizeof(here);
	char host[INET_ADDRSTRLEN];
	bool known;
	int fd;

	(void)snprintf(host, sizeof(host), "%.*s", (int)strcspn(peer, ":"), peer);
	if (inet_pton(AF_INET, host, &there.sin_addr) != 1)
		return false;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	known = !connect(fd, (struct sockaddr *)&there, sizeof(there)) &&
	        !getsockname(fd, (struct sockaddr *)&here, &len) &&
	        inet_ntop(AF_INET, &here.sin_addr, out, INET_ADDRSTRLEN);
	(void)close(fd);
	return known;
}

static void own_address(const char *peer, char out[INET_ADDRSTRLEN])
{
	if (!route_to(peer, out) && !route_to("8.8.8.8", out))
		(void)snprintf(out, INET_ADDRSTRLEN, "127.0.0.1");
}

static void copy(char out[REDIS_ADDRESS_MAX], const char *text)
{
	(void)snprintf(out, REDIS_ADDRESS_MAX, "%s", text);
}

void redis_address_for(const struct redis_address *redis, const char *client,
                       char out[REDIS_ADDRESS_MAX])
{
	const char *ours = without_scheme(redis->url);
	char host[INET_ADDRSTRLEN];

	if (!*redis->url)
		copy(out, "");
	else if (redis->advertised && *redis->advertised)
		copy(out, without_scheme(redis->advertised));
	else if (!is_local(ours) || is_local(client))
		copy(out, ours);
	else if (redis->public_address && *redis->public_address)
		copy(out, redis->public_address);
	else {
		own_address(client, host);
		(void)snprintf(out, REDIS_ADDRESS_MAX, "%s:%d%s", host, port_of(ours), db_of(ours));
	}
}

void redis_url_for_all(const struct redis_address *redis, char out[REDIS_ADDRESS_MAX])
{
	const char *ours = without_scheme(redis->url);
	char host[INET_ADDRSTRLEN];

	if (!*redis->url)
		copy(out, "");
	else if (redis->advertised && *redis->advertised)
		copy(out, redis->advertised);
	else if (!is_local(ours))
		copy(out, redis->url);
	else if (redis->public_url && *redis->public_url &&
	         !is_local(without_scheme(redis->public_url)))
		copy(out, redis->public_url);
	else {
		own_address("8.8.8.8", host);
		(void)snprintf(out, REDIS_ADDRESS_MAX, "redis://%s:%d%s", host, port_of(ours),
		               db_of(ours));
	}
}
