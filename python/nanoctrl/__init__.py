# SPDX-License-Identifier: BSD-3-Clause
"""Client of the control plane's daemon, nanoctrl: looked up (and httpx imported) when it is used."""

__all__ = ["NanoCtrlClient"]


def __getattr__(name):
    if name != "NanoCtrlClient":
        raise AttributeError(f"module 'nanoctrl' has no attribute '{name}'")
    from nanoctrl.client import NanoCtrlClient

    return NanoCtrlClient


def __dir__():
    return sorted({*globals(), *__all__})
