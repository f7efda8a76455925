# SPDX-License-Identifier: BSD-3-Clause
"""The API of the DLSlime that came before, on the objects of this one: docs/python.md."""
