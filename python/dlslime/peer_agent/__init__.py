# SPDX-License-Identifier: BSD-3-Clause
"""PeerAgent: find peers by name, connect, reach their memory by name."""

from dlslime import _core

__all__ = ["PeerAgent", "start_peer_agent", "start_peer_agent_async"]

if _core.has_agent():
    from dlslime.peer_agent._agent import (
        PeerAgent, start_peer_agent, start_peer_agent_async,
    )
else:
    def PeerAgent(*args, **kwargs):
        raise ImportError("PeerAgent requires libdlslime-agent, which this build of dlslime is without: "
                          "its libraries libevent and jansson were missing when it was built. Install "
                          "them (Debian: apt-get install libevent-dev libjansson-dev pkg-config) and "
                          "build dlslime again")

    def start_peer_agent(*args, **kwargs):
        return PeerAgent(*args, **kwargs)

    async def start_peer_agent_async(*args, **kwargs):
        return PeerAgent(*args, **kwargs)
