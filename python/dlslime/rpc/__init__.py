# SPDX-License-Identifier: BSD-3-Clause
"""To come. Importing it says so."""

raise ImportError("dlslime.rpc is not part of this version yet")
