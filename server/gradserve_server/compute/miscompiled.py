"""Programs that XLA compiles wrongly for CPU, found by looking at what it made of them.

XLA hands a convolution and what follows it to a library of kernels as one unit. Where the kernel of the convolution is
one number, spread over its shape, that unit reads memory that nobody wrote. A kernel is such a number in models that
fill their weights, and in the gradient of a kernel where that of the output is the same everywhere, as under a mean.
"""

from __future__ import annotations

import re

# Compiler options without such units: a convolution is handed over alone.
APART = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION"}

_UNIT = re.compile(r"calls=%([\w.\-]+).*__ynn_fusion")
_COMPUTATION = re.compile(r"^%([\w.\-]+) \([^\n]*\{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_CONVOLUTION = re.compile(r" convolution\([^,]*, %([\w.\-]+)\)")


def is_miscompiled(program: str) -> bool:
    """Whether a unit in `program`, the text of a compiled one, convolves with a kernel that it spreads itself."""
    units = set(_UNIT.findall(program))
    return any(
        re.search(rf"%{re.escape(kernel)} = \S+ broadcast\(", body) is not None
        for name, body in _COMPUTATION.findall(program)
        if name in units
        for kernel in _CONVOLUTION.findall(body)
    )
