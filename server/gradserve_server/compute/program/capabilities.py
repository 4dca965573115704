"""What each kind of program and each option needs of a network beyond outputs and one gradient."""

from __future__ import annotations

from collections.abc import Mapping

from gradserve_server.common.errors import Problem, Reason
from gradserve_server.common.specs import Checkpointing, Precision, ProgramSpec
from gradserve_server.compute.network import Capability, Network

# A row for each kind of program, so that a kind that is added says what it needs.
OF_KIND: Mapping[str, tuple[Capability, ...]] = {
    "gradients": (),
    "forward": (),
    "trace": (Capability.TRACE,),
    "jacobian_product": (Capability.FORWARD_MODE,),
    "hessian_product": (Capability.SECOND_DERIVATIVES,),
}


def check_capabilities(spec: ProgramSpec, network: Network) -> None:
    """Refuses what `network` lacks of that which `spec` asks for.

    Raises:
        Problem: UNSUPPORTED_BY_NETWORK, with the reason.
    """
    for capability in OF_KIND[spec.kind]:
        network.require(capability)
    if spec.options.checkpointing not in (Checkpointing.AUTOMATIC, Checkpointing.OFF):
        network.require(Capability.CHECKPOINTING, "options.checkpointing")
    if spec.options.micro_batches > 1 and spec.kind == "trace":
        raise Problem(
            Reason.UNSUPPORTED_OPTION,
            "a trace shows values of the whole batch, and so has no parts",
            field="options.micro_batches",
            given=str(spec.options.micro_batches),
            expected="0",
        )
    if spec.options.precision is not Precision.FULL:
        network.require(Capability.PRECISION, "options.precision")
    for option in ("per_example", "clip_example_norm", "example_summary"):
        if getattr(spec.selection, option):
            network.require(Capability.PER_EXAMPLE, f"gradients.{option}")
    if spec.weights is None:
        network.require(Capability.FRESH_WEIGHTS, "weights.seed")
