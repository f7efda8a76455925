# SPDX-License-Identifier: BSD-3-Clause
"""A nanoctrl of our own, and processes with agents (agent_tool.c), for the tests of agents."""

from processes import BIN, DEADLINE_S, SANITIZED, Process  # noqa: F401 (tests take all of them from here)


class Daemon(Process):
    """nanoctrl on a port of the system's choice; the second life of one takes the port of the first."""

    def __init__(self, db=":memory:", port=0, args=(), host="127.0.0.1", prefix=()):
        self.db, self.args, self.host, self.prefix = db, args, host, prefix
        super().__init__(*prefix, BIN / "nanoctrl", "--host", host, "--port", port, "--db", db,
                         "--log-level", "warn", *args)
        words = self.line().split()
        assert words[0] == "ready", words
        self.url = words[1]
        self.port = int(self.url.rsplit(":", 1)[1])

    def again(self):
        return Daemon(self.db, self.port, self.args, self.host, self.prefix)


class Tool(Process):
    """One agent_tool: ask() it, and ok() what must go well."""

    def __init__(self, url, *certificates, prefix=(), **popen):
        super().__init__(*prefix, BIN / "tests" / "agent_tool", url, *certificates, **popen)

    def ok(self, *words, timeout=DEADLINE_S):
        answer = self.ask(*words, timeout=timeout)
        assert not answer.startswith(("error", "wrong")), f"{words}: {answer}"
        return answer

    def agent(self, index, alias="-", scope="-", ttl_ms=0, memory=1 << 16, seed=1, listen=()):
        name = self.ok("agent", index, alias, scope, ttl_ms, *([listen] if listen else [])).split()[1]
        self.ok("memory", index, memory, seed)
        return name

    def ticket(self, index):
        word, text = self.ok("ticket", index).split()
        assert word == "ticket"
        return text

    def read(self, index, peer, region, length, timeout_ms=5000):
        """The status of a read by name ("0", or an errno's name) and the seconds that it took."""
        word, status, ns = self.ask("read", index, peer, region, length, timeout_ms).split()
        assert word == "end"
        return status, int(ns) / 1e9

    def expect(self, index, peer, region, seed, length=4096):
        assert self.read(index, peer, region, length)[0] == "0"
        self.ok("check", index, length, seed)
