"""One request as a pure function of arrays: `build` checks it, `KINDS` computes it."""

from gradserve_server.compute.program.build import all_weights, build, check_weights, computing_type
from gradserve_server.compute.program.capabilities import check_capabilities
from gradserve_server.compute.program.checkpoints import checkpointing_choices
from gradserve_server.compute.program.computation import Arguments, Computation, Evaluation, Results
from gradserve_server.compute.program.kinds import KINDS, NEED_LOSS
from gradserve_server.compute.program.paddable import find_padding
from gradserve_server.compute.program.padding import Padding, examples_of, may_be_padded, padded, padded_size, resized
from gradserve_server.compute.program.trace import takes_gradients

__all__ = [
    "KINDS",
    "NEED_LOSS",
    "Arguments",
    "Computation",
    "Evaluation",
    "Padding",
    "Results",
    "all_weights",
    "build",
    "check_capabilities",
    "check_weights",
    "checkpointing_choices",
    "computing_type",
    "examples_of",
    "find_padding",
    "may_be_padded",
    "padded",
    "padded_size",
    "resized",
    "takes_gradients",
]
