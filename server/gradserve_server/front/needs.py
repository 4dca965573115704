"""How much memory a request takes for its run: each byte counted once, wherever it lies."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Self, final

import numpy as np

from gradserve_server.common.budget import Budget, Purpose, Reservation
from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import MOST_MESSAGE_BYTES
from gradserve_server.front.programs import Prepared
from gradserve_server.worker.interface import Content, Worker

# For names and numbers beside the tensors.
_MESSAGE_OVERHEAD_BYTES = 1 << 20


@final
@dataclasses.dataclass(frozen=True)
class Needs:
    """Bytes of one run, beside the request as it came and what is held of weights.

    Attributes:
        block_bytes: arguments and results, but for arguments that the run takes from where they lie.
        beside_bytes: what the run takes on the device beside those.
    """

    block_bytes: int
    beside_bytes: int

    @classmethod
    def of(cls, prepared: Prepared, contents: Sequence[Content], worker: Worker) -> Self:
        """What a run of a program takes; those of `contents` that lie in regions were reserved as they came."""
        placed = sum(one.nbytes for one in contents if isinstance(one, np.ndarray) and worker.in_place(one))
        return cls(prepared.block_bytes - placed, prepared.beside_bytes)

    def check(self, held_bytes: int, limit: int) -> None:
        """Refuses what would not fit if there were no other request: waiting cannot help it.

        Args:
            held_bytes: of the request as it came, and of what it takes from the store.
            limit: of the budget.
        """
        needed = held_bytes + self.block_bytes + self.beside_bytes
        if needed > limit:
            raise Problem(
                Reason.MEMORY_LIMIT,
                "request, program and answer together need more memory than there is",
                given=f"{needed} bytes",
                expected=f"at most {limit} bytes",
                metadata={"needed_bytes": str(needed), "limit_bytes": str(limit)},
            )

    def reserve(self, budget: Budget) -> Reservation:
        """Takes the bytes from the budget."""
        return budget.reserve((Purpose.BLOCKS, self.block_bytes), (Purpose.EXECUTION, self.beside_bytes))


def check_one_message(prepared: Prepared) -> None:
    """Refuses a program whose results do not fit into one message."""
    most = MOST_MESSAGE_BYTES - _MESSAGE_OVERHEAD_BYTES
    if prepared.result_bytes > most:
        raise Problem(
            Reason.TOO_LARGE,
            "the answer would not fit into one message",
            given=f"{prepared.result_bytes} bytes",
            expected=f"at most {most} bytes",
            hint="Ask over `Stream`, for fewer gradients or outputs at once, or for a summary only.",
            metadata={"needed_bytes": str(prepared.result_bytes), "limit_bytes": str(most)},
        )
