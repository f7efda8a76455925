# SPDX-License-Identifier: BSD-3-Clause
"""Counters of the contract: on when DLSLIME_OBS is 1 at first use."""

import os
from _thread import RLock

_OPS = ("read", "write", "write_with_imm", "send", "recv", "imm_recv")
_SLOTS_MOST = 16
_BY_OP = ("assign", "batch", "submitted_bytes", "completed_bytes", "failed_bytes", "pending", "errors",
          "post_batch", "post_wr", "post_bytes", "post_failures")

_on = None
_slots = []
_lock = RLock()
_regions = {"user_mr_count": 0, "user_mr_bytes": 0, "sys_mr_count": 0, "sys_mr_bytes": 0}


class Slot:
    """The counters of one NIC."""

    def __init__(self, name):
        self.name = name
        self.reset()

    def reset(self):
        self.ops = {op: dict.fromkeys(_BY_OP, 0) for op in _OPS}

    def submitted(self, op, assign, future):
        """Count one call of the user, now and when it is over. Returns FUTURE."""
        nbytes = sum(t[4] for t in assign)
        with _lock:
            c = self.ops[op]
            c["assign"] += len(assign)
            c["batch"] += 1
            c["submitted_bytes"] += nbytes
            c["pending"] += 1
            c["post_batch"] += 1
            c["post_wr"] += len(assign)
            c["post_bytes"] += nbytes

        def over(done):
            with _lock:
                c["pending"] -= 1
                failed = done.status_after(0) != 0
                c["failed_bytes" if failed else "completed_bytes"] += nbytes
                c["errors"] += failed

        future.add_done_callback(over)
        return future

    def snapshot(self):
        total = {key: sum(c[key] for c in self.ops.values()) for key in _BY_OP}
        by_op = {op: dict(c) for op, c in self.ops.items()
                 if c["assign"] or c["batch"] or c["submitted_bytes"] or c["completed_bytes"]}
        out = {
            "nic": self.name, "nic_bdf": "",
            "assign_total": total["assign"], "batch_total": total["batch"],
            "submitted_bytes_total": total["submitted_bytes"],
            "completed_bytes_total": total["completed_bytes"],
            "failed_bytes_total": total["failed_bytes"], "pending_ops": total["pending"],
            "error_total": total["errors"], "post_batch_total": total["post_batch"],
            "post_wr_total": total["post_wr"], "post_bytes_total": total["post_bytes"],
            "post_failures_total": total["post_failures"], "cq_errors_total": total["errors"],
        }
        if by_op:
            out["by_op"] = by_op
        return out


def obs_enabled():
    """Whether DLSLIME_OBS was 1 when this was asked first."""
    global _on
    if _on is None:
        _on = os.environ.get("DLSLIME_OBS") == "1"
    return _on


def obs_register_nic_for_test(name):
    """The slot of a NIC; -1 when all 16 are taken, or nothing is counted."""
    if not isinstance(name, str):
        raise TypeError(f"name is {type(name).__name__}, not str")
    name = name.encode()[:63].decode(errors="ignore")
    if not obs_enabled():
        return -1
    with _lock:
        for i, slot in enumerate(_slots):
            if slot.name == name:
                return i
        if len(_slots) == _SLOTS_MOST:
            return -1
        _slots.append(Slot(name))
        return len(_slots) - 1


def slot_of(name):
    """The counters of a NIC, or None if nothing is counted."""
    i = obs_register_nic_for_test(name)
    return None if i < 0 else _slots[i]


def count_region(name, n, nbytes):
    """N regions more (or fewer), NBYTES more."""
    if obs_enabled():
        kind = "sys" if name and name.startswith("sys.") else "user"
        with _lock:
            _regions[f"{kind}_mr_count"] += n
            _regions[f"{kind}_mr_bytes"] += nbytes


def obs_reset_for_test():
    """All counters to 0; NICs keep their slots."""
    with _lock:
        for slot in _slots:
            slot.reset()
        for key in _regions:
            _regions[key] = 0


def obs_snapshot():
    """What was counted: a dict of plain values."""
    if not obs_enabled():
        return {"enabled": False}
    with _lock:
        nics = [slot.snapshot() for slot in _slots]
        summary = {key: sum(n[key] for n in nics) for key in
                   ("assign_total", "batch_total", "submitted_bytes_total", "completed_bytes_total",
                    "failed_bytes_total", "pending_ops", "error_total")}
        summary.update(_regions)
        summary["mr_count"], summary["mr_bytes"] = _regions["user_mr_count"], _regions["user_mr_bytes"]
        summary["pending_by_op"] = {op: sum(s.ops[op]["pending"] for s in _slots) for op in _OPS}
        return {"enabled": True, "summary": summary, "nics": nics}
