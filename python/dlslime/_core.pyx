# SPDX-License-Identifier: BSD-3-Clause
# cython: language_level=3, binding=True, boundscheck=True, wraparound=False, nonecheck=True
"""The C library in Python: contexts, memory, regions, endpoints, futures.

The extension is one module; the files in core/ are its parts, in the order of use. All state of
Python objects is guarded by the GIL, which is released around every call that may wait or copy. Lists
and tuples are the user's: another thread, or an __index__(), may shorten one while it is read, so
their bounds are checked.
"""

cimport cython
from cpython.buffer cimport (PyBUF_ANY_CONTIGUOUS, PyBUF_FORMAT, PyBUF_ND, PyBUF_STRIDES,
                             PyBUF_WRITABLE, PyBuffer_FillInfo, PyBuffer_Release,
                             PyObject_CheckBuffer, PyObject_GetBuffer)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_IsValid, PyCapsule_New
from cpython.pythread cimport PyThread_get_thread_ident
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdint cimport INT64_MAX, UINT64_MAX, int32_t, int64_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy, memset, strlen

from dlslime._slime cimport *

import sys
from _collections import deque
from _thread import start_new_thread
from _weakref import ref as weak_ref

from dlslime import _errors

include "core/base.pxi"
include "core/memory.pxi"
include "core/segments.pxi"
include "core/future.pxi"
include "core/link.pxi"
include "core/endpoint.pxi"
include "core/agent.pxi"
