# SPDX-License-Identifier: BSD-3-Clause
"""What a service or an agent asks of nanoctrl over HTTP.

Calls of services (register, heartbeat, lists) never raise: they log and answer with what says that
they failed. Calls of agents (the ones with ``peer`` in the name, and the topology) raise httpx errors.
A client may be used by many threads, and after a fork.
"""

from __future__ import annotations

import logging
import os
import ssl
import threading
import urllib.parse
from typing import Any, Callable

import httpx

# Seconds.
_SHORT, _LONG = 5.0, 10.0


class NanoCtrlClient:
    """Calls to the daemon at ``address`` ("host:port" or a URL), all in one ``scope``.

    ``token`` is sent with each call. ``ca`` is the file of the authority that signed the daemon's
    certificate, ``cert`` a client certificate: a file, or a tuple of certificate and key.
    """

    _logger = logging.getLogger("dlslime.ctrl")

    def __init__(
        self,
        address: str,
        scope: str | None = None,
        *,
        token: str | None = None,
        ca: str | None = None,
        cert: str | tuple[str, str] | None = None,
    ) -> None:
        has_scheme = address.startswith(("http://", "https://"))
        self._base = (address if has_scheme else f"http://{address}").rstrip("/")
        self._scope = scope
        # A connection is kept from one heartbeat to the next.
        limits = httpx.Limits(keepalive_expiry=30.0)
        self._options: dict[str, Any] = {"trust_env": False, "limits": limits}
        if token:
            self._options["headers"] = {"Authorization": f"Bearer {token}"}
        if ca or cert:
            self._options["verify"] = _tls_context(ca, cert)
        self._lock = threading.Lock()
        self._http: httpx.Client | None = None  # under _lock, with:
        self._http_pid = 0
        self._entity: tuple[str, str] | None = None  # type and id, once registered
        self._beating: threading.Thread | None = None
        self._stop_beating = threading.Event()
        self.registered = False

    def __enter__(self) -> NanoCtrlClient:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        self.close()

    def close(self) -> None:
        """Closes the kept connections. A later call opens them again."""
        with self._lock:
            http, self._http = self._http, None
        if http is not None:
            http.close()

    # Services

    def check_connection(self) -> None:
        """Raises RuntimeError unless the daemon answers."""
        try:
            self._client().get(self._base, timeout=_SHORT).raise_for_status()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise RuntimeError(
                f"Cannot reach NanoCtrl at {self._base}: {error}\n"
                "NanoCtrl must be running before entity startup."
            ) from error
        self._logger.info("NanoCtrl connection verified: %s", self._base)

    def register(
        self,
        entity_id: str,
        kind: str,
        *,
        entity_type: str = "service",
        endpoint: dict | None = None,
        metadata: dict | None = None,
        resource: dict | None = None,
    ) -> bool:
        """Makes an entity known. It is forgotten 60 s after its last heartbeat."""
        self._entity = (entity_type, entity_id)
        body = {"entity_type": entity_type, "entity_id": entity_id, "kind": kind}
        for name, value in (("endpoint", endpoint), ("metadata", metadata), ("resource", resource)):
            if value is not None:
                body[name] = value
        answer = self._try("register", body, _LONG, f"Failed to register entity {self._name()}")
        self.registered = _is_ok(answer)
        if self.registered:
            self._logger.info("Registered entity %s with NanoCtrl", self._name())
        return self.registered

    def unregister(self) -> bool:
        """Takes the entity back. False if there was none."""
        if self._entity is None:
            return False
        what = f"Failed to unregister entity {self._name()}"
        if not _is_ok(self._try("unregister", self._named(), _SHORT, what)):
            return False
        self.registered = False
        self._logger.info("Unregistered entity %s from NanoCtrl", self._name())
        return True

    def heartbeat(self) -> str:
        """"ok", "not_found" (register again) or "error"."""
        if self._entity is None:
            return "error"
        answer = self._try(
            "heartbeat", self._named(), _SHORT, f"Heartbeat error for {self._name()}"
        )
        status = answer.get("status") if isinstance(answer, dict) else None
        self._logger.debug("Heartbeat %s: %s", self._name(), status)
        return status if status in ("ok", "not_found") else "error"

    def get_redis_url(self) -> str | None:
        """Where agents of the first generation find Redis. None: the daemon has none."""
        answer = self._try(
            "get_redis_address", {}, _LONG, "Failed to get Redis URL from NanoCtrl"
        )
        url = answer.get("redis_address") if _is_ok(answer) else None
        if not url:
            return None
        return url if "://" in url else f"redis://{url}"

    def get_entity_info(self, entity_id: str, *, entity_type: str = "service") -> dict | None:
        what = f"Failed to get entity info for {entity_type}:{entity_id}"
        body = {"entity_type": entity_type, "entity_id": entity_id}
        answer = self._try("get_entity_info", body, _SHORT, what)
        return answer.get("entity_info") if _is_ok(answer) else None

    def list_entities(
        self, *, entity_type: str | None = "service", kind: str | None = None
    ) -> list[dict]:
        """All that match; [] also when the daemon cannot be asked."""
        body = {"entity_type": entity_type, "kind": kind}
        body = {name: value for name, value in body.items() if value is not None}
        answer = self._try("list_entities", body, _SHORT, "Failed to list entities")
        return answer.get("entities", []) if _is_ok(answer) else []

    # A thread that beats

    def start_heartbeat(
        self,
        interval: float = 15.0,
        on_not_found: Callable[[], None] | None = None,
        name: str = "nanoctrl-hb",
    ) -> None:
        """Beats every ``interval`` seconds. ``on_not_found`` is where to register again."""
        if self._beating is not None and self._beating.is_alive():
            return
        self._stop_beating = threading.Event()
        self._beating = threading.Thread(
            target=self._beat, args=(self._stop_beating, interval, on_not_found), name=name,
            daemon=True,
        )
        self._beating.start()
        self._logger.info(
            "Started heartbeat thread '%s' for entity %s (interval=%ss)",
            name, self._name(), interval,
        )

    def stop_heartbeat(self, timeout: float = 2.0) -> None:
        thread, self._beating = self._beating, None
        self._stop_beating.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def stop(self, timeout: float = 2.0) -> None:
        """Stops the heartbeat, and unregisters if registered."""
        self.stop_heartbeat(timeout)
        if self.registered:
            self.unregister()

    def _beat(
        self, stop: threading.Event, interval: float, on_not_found: Callable[[], None] | None
    ) -> None:
        while not stop.wait(interval):
            if self.heartbeat() != "not_found" or on_not_found is None or stop.is_set():
                continue
            self._logger.warning(
                "Entity %s not found in NanoCtrl, calling on_not_found callback", self._name()
            )
            try:
                on_not_found()
            except Exception:  # the caller's; the heart goes on beating
                self._logger.exception("on_not_found callback failed for %s", self._name())

    # Agents

    def register_peer(
        self,
        *,
        alias: str | None,
        address: str,
        resource: dict | None = None,
        device: str | None = None,
        ib_port: int | None = None,
        link_type: str | None = None,
    ) -> dict:
        """Makes an agent known. An alias in use is an httpx.HTTPStatusError with status 409."""
        body: dict[str, Any] = {"alias": alias, "address": address, "resource": resource}
        body.update(device=device, ib_port=ib_port, link_type=link_type)
        body = {name: value for name, value in body.items() if value is not None}
        return self._post("start_peer_agent", body, _LONG)

    def cleanup_peer(self, agent_name: str) -> dict:
        return self._post("cleanup", {"agent_name": agent_name}, _SHORT)

    def heartbeat_peer(self, agent_name: str) -> dict:
        return self._post("heartbeat", {"entity_type": "agent", "entity_id": agent_name}, _SHORT)

    def set_desired_topology(
        self,
        alias: str,
        *,
        target_peers: list[str],
        min_bw: str | None = None,
        symmetric: bool = False,
    ) -> dict:
        body: dict[str, Any] = {"target_peers": target_peers, "symmetric": symmetric}
        if min_bw is not None:
            body["min_bw"] = min_bw
        return self._post(f"v1/desired_topology/{_quote(alias)}", body, _SHORT)

    def query_peers(self) -> list[dict]:
        return self._post("query", {}, _SHORT)

    # Requests

    def _client(self) -> httpx.Client:
        with self._lock:
            if self._http_pid != os.getpid():
                self._http = None  # its connections are the parent's
            if self._http is None:
                self._http = httpx.Client(**self._options)
                self._http_pid = os.getpid()
            return self._http

    def _post(self, path: str, body: dict, timeout: float) -> Any:
        if self._scope:
            body["scope"] = self._scope
        answer = self._client().post(f"{self._base}/{path}", json=body, timeout=timeout)
        answer.raise_for_status()
        return answer.json()

    def _try(self, path: str, body: dict, timeout: float, what: str) -> Any:
        """None when it failed, which is logged."""
        try:
            answer = self._post(path, body, timeout)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, TypeError) as error:
            self._logger.error("%s: %s", what, error)
            return None
        status = answer.get("status") if isinstance(answer, dict) else None
        if status not in ("ok", "not_found"):
            self._logger.error("%s: the answer's status is %r", what, status)
        return answer

    def _named(self) -> dict:
        assert self._entity is not None
        return {"entity_type": self._entity[0], "entity_id": self._entity[1]}

    def _name(self) -> str:
        return ":".join(self._entity) if self._entity else "(none)"


def _is_ok(answer: Any) -> bool:
    return isinstance(answer, dict) and answer.get("status") == "ok"


def _quote(segment: str) -> str:
    return urllib.parse.quote(segment, safe="")


def _tls_context(ca: str | None, cert: str | tuple[str, str] | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca)
    if isinstance(cert, str):
        context.load_cert_chain(cert)
    elif cert is not None:
        context.load_cert_chain(*cert)
    return context
