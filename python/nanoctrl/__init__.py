# SPDX-License-Identifier: BSD-3-Clause
"""Client of the control plane's daemon, nanoctrl."""

from .client import NanoCtrlClient

__all__ = ["NanoCtrlClient"]
