# SPDX-License-Identifier: BSD-3-Clause
"""The client of the control plane's HTTP interface, looked up (and httpx imported) when it is used."""

__all__ = ["NanoCtrlClient"]


def __getattr__(name):
    if name != "NanoCtrlClient":
        raise AttributeError(f"module 'dlslime.ctrl' has no attribute '{name}'")
    from dlslime.ctrl.client import NanoCtrlClient

    return NanoCtrlClient
