"""Decorators for the steps of kernels: what compiles faster, and what runs faster.

What kernels alone call needs no form that Python could call: it compiles a sixth faster; called from Python it crashes.
Numba raises and lowers an atomic counter of every array at calls that LLVM does not make part of the caller: a function
called for each character is many times faster without, and only one that makes an array cannot do without.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

_Step = TypeVar("_Step", bound=Callable[..., Any])
_njit: Any = njit  # its types leave some options out


def inner(step: _Step) -> _Step:
    """Compile a step that only kernels call, and that may make arrays."""
    compiled: _Step = _njit(cache=True, nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)(step)
    return compiled


def lean(step: _Step) -> _Step:
    """Compile a step that only kernels call, and that makes no array."""
    compiled: _Step = _njit(cache=True, nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, _nrt=False)(step)
    return compiled


def lean_entry(kernel: _Step) -> _Step:
    """Compile what Python calls, and that makes no array."""
    compiled: _Step = _njit(cache=True, nogil=True, no_cfunc_wrapper=True, _nrt=False)(kernel)
    return compiled
