"""The table in docs/formats.md is true: the same function in each format is asked for all that a row promises."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradserve as gs
from gradserve_server.common.specs import Limits
from gradserve_server.compute.frontends import graph, onnx, stablehlo
from gradserve_server.compute.network import Capability, Context, Network

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
GENERATOR = np.random.default_rng(0)
KERNEL = GENERATOR.normal(size=(3, 2)).astype("float32")
X, Y = GENERATOR.normal(size=(4, 3)).astype("float32"), GENERATOR.normal(size=(4, 2)).astype("float32")
BATCH = {"x": X, "y": Y}
LOSS = gs.squared_error(target="y")


@dataclasses.dataclass(frozen=True)
class Format:
    """tanh(x kernel) as a network of one format, for the SDK and as the server loads it."""

    network: gs.Network
    kernel: str
    load: Callable[[bytes], Network]

    @property
    def weights(self) -> dict[str, np.ndarray]:
        return {self.kernel: KERNEL}

    def loss(self) -> Callable[[Any, Any], jax.Array]:
        """The loss of the loaded network, as a function of kernel and examples."""
        loaded = self.load(self.network.to_bytes())

        def loss(kernel: Any, x: Any) -> jax.Array:
            outputs = loaded.apply({self.kernel: kernel}, {}, {"x": x}, Context(jnp.float32))
            return jnp.mean((next(iter(outputs.values())) - Y[: x.shape[0]]) ** 2)

        return loss


def artifact(dtype: str = "float32", rows: Any = "rows", order: int = 1) -> gs.Network:
    with jax.enable_x64(True):
        return gs.from_jax(
            lambda weights, inputs: {"out": jnp.tanh(inputs["x"] @ weights["kernel"])},
            {"kernel": KERNEL.astype(dtype)},
            {"x": gs.spec(rows, 3, dtype=dtype)},
            platforms=["cpu"],
            vjp_order=order,
        )


VALUES = ", ".join(str(one) for one in KERNEL.reshape(-1))
FORMATS = {
    "native graph": Format(
        gs.sequential(gs.dense(2, bias=False), gs.tanh(), x=("rows", 3)),
        "dense_1/kernel",
        lambda content: graph.load_network(content, Limits()),
    ),
    "ONNX": Format(
        gs.onnx_text(
            f"""<ir_version: 10, opset_import: ["": 21]> tanh (float[rows, 3] x) => (float[rows, 2] out)
            <float[3, 2] kernel = {{{VALUES}}}> {{ [product] h = MatMul(x, kernel) [activation] out = Tanh(h) }}"""
        ),
        "kernel",
        lambda content: onnx.load_network(content, Limits(), is_text=True),
    ),
    "StableHLO": Format(artifact(), "kernel", lambda content: stablehlo.load_network(content, Limits(), apart=False)),
}
Ask = Callable[[gs.Client, Format], object]


def gradients(client: gs.Client, of: Format, **options: Any) -> gs.GradientResult:
    return client.gradients(of.network, of.weights, BATCH, loss=LOSS, **options)


def expected() -> np.ndarray:
    """The gradient of the mean of squares, by hand in float64."""
    output = np.tanh(X.astype("float64") @ KERNEL)
    return X.T @ (2 * (output - Y) * (1 - output**2) / output.size)


def ask_gradients(client: gs.Client, of: Format) -> None:
    np.testing.assert_allclose(gradients(client, of).gradients[of.kernel], expected(), rtol=1e-4)


def ask_own_weights(client: gs.Client, of: Format) -> None:
    found = client.gradients(of.network, None, BATCH, loss=LOSS).gradients[of.kernel]
    np.testing.assert_allclose(found, expected(), rtol=1e-4)


def ask_fresh_weights(client: gs.Client, of: Format) -> None:
    assert client.gradients(of.network, gs.seeded(0), BATCH, loss=LOSS).gradients[of.kernel].shape == (3, 2)


def ask_trace(client: gs.Client, of: Format) -> None:
    traced = client.trace(of.network, of.weights, BATCH, loss=LOSS)
    product, result = ("product", "activation") if of.kernel == "kernel" else ("dense_1", "tanh_1")
    np.testing.assert_allclose(traced[of.kernel].gradient_tensor, expected(), rtol=1e-4)
    assert traced[product].inputs == ("x", of.kernel)
    assert traced[result].inputs == (product,)
    gradient = traced[result].gradient_tensor
    assert gradient is not None
    output = np.tanh(X.astype("float64") @ KERNEL)
    np.testing.assert_allclose(gradient, 2 * (output - Y) / output.size, rtol=1e-4, atol=1e-6)


def ask_jacobian_product(client: gs.Client, of: Format) -> None:
    loss = of.loss()
    _, found = jax.jit(lambda k: jax.jvp(lambda k: loss(k, X), (k,), (jnp.ones_like(k),)))(KERNEL)
    np.testing.assert_allclose(found, expected().sum(), rtol=1e-4)


def ask_hessian_product(client: gs.Client, of: Format) -> None:
    loss = of.loss()
    found = jax.jit(jax.grad(lambda k: jnp.sum(jax.grad(loss)(k, X))))(KERNEL)
    gradient = jax.jit(jax.grad(loss))
    step = 1e-2
    differences = (gradient(KERNEL + step, X) - gradient(KERNEL - step, X)) / (2 * step)
    np.testing.assert_allclose(found, differences, rtol=2e-2, atol=1e-3)


def ask_per_example(client: gs.Client, of: Format) -> None:
    loss = of.loss()
    found = jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(KERNEL, X[:, None])
    alone = jax.jit(jax.grad(loss))
    np.testing.assert_allclose(found, [alone(KERNEL, X[row : row + 1]) for row in range(4)], rtol=1e-4, atol=1e-6)


def ask_checkpointing(client: gs.Client, of: Format) -> None:
    found = gradients(client, of, checkpointing="products")
    np.testing.assert_allclose(found.gradients[of.kernel], expected(), rtol=1e-4)


def ask_16_bits(client: gs.Client, of: Format) -> None:
    found = gradients(client, of, precision="bfloat16").gradients[of.kernel]
    assert found.dtype == np.float32
    assert 1e-5 < np.abs(found - expected()).max() < 0.05


def ask_flops(client: gs.Client, of: Format) -> None:
    described = client.describe(of.network, loss=LOSS, dimensions={"rows": 4})
    if not described.flops:
        raise AssertionError("none are counted")


ROWS: dict[str, Ask] = {
    "gradients": ask_gradients,
    "weights of its own": ask_own_weights,
    "fresh weights from a seed": ask_fresh_weights,
    "trace": ask_trace,
    "Jacobian products": ask_jacobian_product,
    "Hessian products": ask_hessian_product,
    "gradients per example": ask_per_example,
    "choice of checkpointing": ask_checkpointing,
    "16-bit forward pass": ask_16_bits,
    "FLOPs in descriptions": ask_flops,
}
# Where not the server itself refuses: weights that are not there, what JAX cannot derive, and a number left out.
REFUSALS: dict[str, Any] = {
    "weights of its own": gs.InvalidRequest,
    "Jacobian products": TypeError,
    "Hessian products": ValueError,
    "gradients per example": NotImplementedError,
    "FLOPs in descriptions": AssertionError,
}
CAPABILITIES = {
    "fresh weights from a seed": Capability.FRESH_WEIGHTS,
    "trace": Capability.TRACE,
    "Jacobian products": Capability.FORWARD_MODE,
    "Hessian products": Capability.SECOND_DERIVATIVES,
    "gradients per example": Capability.PER_EXAMPLE,
    "choice of checkpointing": Capability.CHECKPOINTING,
    "16-bit forward pass": Capability.PRECISION,
}


def table() -> dict[tuple[str, str], str]:
    """Cells of the page's table by row and format."""
    lines = [line.strip("| ").split(" | ") for line in PAGE.read_text("utf-8").splitlines() if line.startswith("|")]
    formats = lines[0]
    assert set(formats) == set(FORMATS)
    return {(cells[0], of): cell for cells in lines[2:] for of, cell in zip(formats, cells[1:], strict=True)}


TABLE = table()


@pytest.mark.long
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("of", FORMATS)
def test_a_format_has_what_its_cell_says(client: gs.Client, row: str, of: str) -> None:
    cell, form = TABLE[row, of], FORMATS[of]
    if cell.startswith("yes"):
        ROWS[row](client, form)
        return
    assert cell.startswith(("no", "if"))
    with pytest.raises(REFUSALS.get(row, gs.Unsupported)) as caught:
        ROWS[row](client, form)
    if isinstance(caught.value, gs.Unsupported):
        assert caught.value.reason == "UNSUPPORTED_BY_NETWORK"
    if row in CAPABILITIES:
        assert CAPABILITIES[row] in form.load(form.network.to_bytes()).limitations


def test_second_derivatives_are_there_if_the_artifact_brings_them(client: gs.Client) -> None:
    twice = dataclasses.replace(FORMATS["StableHLO"], network=artifact(order=2))
    assert TABLE["Hessian products", "StableHLO"] == "if serialized with `vjp_order=2`"
    ask_hessian_product(client, twice)


@pytest.mark.parametrize("of", FORMATS)
def test_64_bits_and_any_number_of_rows(client: gs.Client, of: str) -> None:
    form = FORMATS[of]
    for rows in (1, 3):
        batch = {"x": X[:rows], "y": Y[:rows]}
        assert client.gradients(form.network, form.weights, batch, loss=LOSS).gradients[form.kernel].shape == (3, 2)
    network = artifact("float64") if of == "StableHLO" else form.network
    weights = {form.kernel: KERNEL.astype("float64")}
    dtype = "float64" if of == "StableHLO" else "float32"
    batch = {"x": X.astype(dtype), "y": Y.astype("float64")}
    found = client.gradients(network, weights, batch, loss=LOSS).gradients[form.kernel]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected(), rtol=1e-12)
