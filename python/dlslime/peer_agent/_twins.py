# SPDX-License-Identifier: BSD-3-Clause
"""The calls that wait for the control plane or a peer, for asyncio: in a thread of the loop's pool."""

import functools


async def in_a_thread(call, *args, **kwargs):
    import asyncio

    return await asyncio.get_running_loop().run_in_executor(
        None, functools.partial(call, *args, **kwargs))


def _twin(name):
    async def call(self, *args, **kwargs):
        return await in_a_thread(getattr(self, name), *args, **kwargs)

    call.__name__ = f"{name}_async"
    call.__doc__ = f"As {name}(), without blocking the loop."
    return call


class AsyncTwins:
    """Of a PeerAgent. Its futures and connections can be awaited themselves."""

    list_agents_async = _twin("list_agents")
    get_resource_async = _twin("get_resource")
    list_mem_keys_async = _twin("list_mem_keys")
    register_memory_region_async = _twin("register_memory_region")
    unregister_memory_region_async = _twin("unregister_memory_region")
    get_mr_info_async = _twin("get_mr_info")
    get_handle_async = _twin("get_handle")
    shutdown_async = _twin("shutdown")

    async def connect_to_async(self, *args, timeout=60.0, **kwargs):
        """connect_to(), and the wait for the connection."""
        conn = await in_a_thread(self.connect_to, *args, **kwargs)
        return await conn.wait_async(timeout)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        await self.shutdown_async()
