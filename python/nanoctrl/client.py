# SPDX-License-Identifier: BSD-3-Clause
"""The client of nanoctrl under its first name; dlslime.ctrl has the class."""

import logging

from dlslime.ctrl import client


class NanoCtrlClient(client.NanoCtrlClient):
    __doc__ = client.NanoCtrlClient.__doc__

    _logger = logging.getLogger("nanoctrl")
