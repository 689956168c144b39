"""Decorators for kernels that make no arrays: none of those they are given is counted as used, which takes time.

Numba raises and lowers an atomic counter of every array at calls that LLVM does not make part of the caller. A function
that is called for each character is many times faster without; one that makes an array cannot do without.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

_Step = TypeVar("_Step", bound=Callable[..., Any])
_njit: Any = njit  # its types leave some options out


def lean(step: _Step) -> _Step:
    """Compile a step that only kernels call."""
    compiled: _Step = _njit(cache=True, nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, _nrt=False)(step)
    return compiled


def lean_entry(kernel: _Step) -> _Step:
    """Compile what Python calls."""
    compiled: _Step = _njit(cache=True, nogil=True, no_cfunc_wrapper=True, _nrt=False)(kernel)
    return compiled
