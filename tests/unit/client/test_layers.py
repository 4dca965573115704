"""Layers write what the contract means by them."""

import numpy as np
import pytest

import gradserve as gs
from gradserve.v1 import network_pb2

Elementwise = network_pb2.Elementwise

ELEMENTWISE = {
    gs.relu: "RELU",
    gs.leaky_relu: "LEAKY_RELU",
    gs.elu: "ELU",
    gs.gelu: "GELU_TANH",
    gs.silu: "SILU",
    gs.sigmoid: "SIGMOID",
    gs.tanh: "TANH",
    gs.softplus: "SOFTPLUS",
    gs.softmax: "SOFTMAX",
    gs.log_softmax: "LOG_SOFTMAX",
    gs.exp: "EXP",
    gs.log: "LOG",
    gs.sqrt: "SQRT",
    gs.square: "SQUARE",
    gs.absolute: "ABS",
    gs.negate: "NEGATE",
    gs.sin: "SIN",
    gs.cos: "COS",
    gs.erf: "ERF",
    gs.stop_gradient: "STOP_GRADIENT",
    gs.log_sigmoid: "LOG_SIGMOID",
    gs.log1p: "LOG1P",
    gs.expm1: "EXPM1",
    gs.log_gamma: "LOG_GAMMA",
    gs.rsqrt: "RSQRT",
    gs.sign: "SIGN",
    gs.logical_not: "NOT",
}


@pytest.mark.parametrize(("constructor", "function"), ELEMENTWISE.items())
def test_an_elementwise_layer_names_its_function(constructor, function):
    layer = constructor(name="f")
    assert layer.message.elementwise.function == Elementwise.Function.Value(f"FUNCTION_{function}")
    assert (layer.kind, layer.name) == (constructor.__name__, "f")


def test_every_elementwise_function_of_the_contract_has_a_layer():
    layers = [*(constructor() for constructor in ELEMENTWISE), gs.gelu(exact=True)]
    functions = {one.message.elementwise.function for one in layers}
    assert functions == set(Elementwise.Function.values()) - {0}


MESSAGES = [
    (gs.dense(3), "dense { units: 3 }"),
    (
        gs.dense(3, bias=False, kernel_initializer=gs.normal(0.5)),
        "dense { units: 3 without_bias: true kernel_initializer { normal: 0.5 } }",
    ),
    (
        gs.convolution(8, 3),
        "convolution { filters: 8 window { size: [3, 3] padding: PADDING_SAME } }",
    ),
    (
        gs.convolution(8, (3,), stride=2, dilation=(4,), padding="valid", groups=2, transposed=True),
        (
            "convolution { filters: 8 groups: 2 transposed: true "
            "window { size: 3 stride: 2 dilation: 4 padding: PADDING_VALID } }"
        ),
    ),
    (gs.embedding(100, 16), "embedding { rows: 100 features: 16 }"),
    (gs.layer_normalization(), "normalization { kind: KIND_LAYER }"),
    (
        gs.layer_normalization(1e-6, scale=False, bias=False),
        ("normalization { kind: KIND_LAYER epsilon: 1e-6 without_scale: true without_bias: true }"),
    ),
    (gs.rms_normalization(), "normalization { kind: KIND_RMS }"),
    (
        gs.batch_normalization(momentum=0.0, fixed_statistics=True),
        "normalization { kind: KIND_BATCH momentum: 0 fixed_statistics: true }",
    ),
    (
        gs.max_pooling(2),
        "pooling { function: FUNCTION_MAX window { size: [2, 2] padding: PADDING_VALID } }",
    ),
    (
        gs.mean_pooling((2, 3), stride=(1, 2), padding="same"),
        ("pooling { function: FUNCTION_MEAN window { size: [2, 3] stride: [1, 2] padding: PADDING_SAME } }"),
    ),
    (gs.global_max_pooling(), "pooling { function: FUNCTION_MAX }"),
    (gs.global_mean_pooling(), "pooling { function: FUNCTION_MEAN }"),
    (gs.dropout(0.5), "dropout { rate: 0.5 }"),
    (gs.reshape(0, 4, -1), "reshape { shape: [0, 4, -1] }"),
    (gs.flatten(), "reshape { shape: [0, -1] }"),
    (gs.reduce_sum(), "reduce { function: FUNCTION_SUM }"),
    (gs.reduce_mean(-1), "reduce { function: FUNCTION_MEAN axes: -1 }"),
    (
        gs.reduce_max((0, 1), keep_axes=True),
        "reduce { function: FUNCTION_MAX axes: [0, 1] keep_axes: true }",
    ),
    (gs.reduce_min(0), "reduce { function: FUNCTION_MIN axes: 0 }"),
    (gs.reduce_log_sum_exp(0), "reduce { function: FUNCTION_LOG_SUM_EXP axes: 0 }"),
    (gs.leaky_relu(0.2), "elementwise { function: FUNCTION_LEAKY_RELU alpha: 0.2 }"),
    (
        gs.group_normalization(4, epsilon=1e-6, bias=False),
        "normalization { kind: KIND_GROUP groups: 4 epsilon: 1e-6 without_bias: true }",
    ),
    (gs.attention(8), "attention { heads: 8 }"),
    (
        gs.attention(8, 2, 16, causal=True, rotary_base=1e4, bias=False),
        "attention { heads: 8 key_value_heads: 2 head_size: 16 causal: true rotary_base: 1e4 without_bias: true }",
    ),
    (gs.simple_recurrent(3), "recurrent { cell: CELL_SIMPLE units: 3 }"),
    (gs.lstm(3, last_only=True), "recurrent { cell: CELL_LSTM units: 3 last_only: true }"),
    (gs.gru(3, bidirectional=True), "recurrent { cell: CELL_GRU units: 3 bidirectional: true }"),
    (gs.einsum("ij,jk->ik"), 'einsum { equation: "ij,jk->ik" }'),
    (gs.transpose(), "transpose { }"),
    (gs.transpose(0, -1, 1), "transpose { axes: [0, -1, 1] }"),
    (gs.slice_axis(0), "slice { axis: 0 }"),
    (gs.slice_axis(-1, 1, -1, 2), "slice { axis: -1 start: 1 stop: -1 step: 2 }"),
    (gs.concatenate(), "concatenate { axis: -1 }"),
    (
        gs.rearrange("b (h w) -> b h w", h=2),
        "rearrange { pattern: 'b (h w) -> b h w' sizes { key: 'h' value: 2 } }",
    ),
    (gs.pad([0, 1], [0, -1], 0.5), "pad { low: [0, 1] high: [0, -1] value: 0.5 }"),
    (gs.equal(), "compare { function: FUNCTION_EQUAL }"),
    (gs.not_equal(), "compare { function: FUNCTION_NOT_EQUAL }"),
    (gs.less(), "compare { function: FUNCTION_LESS }"),
    (gs.less_or_equal(), "compare { function: FUNCTION_LESS_OR_EQUAL }"),
    (gs.greater(), "compare { function: FUNCTION_GREATER }"),
    (gs.greater_or_equal(), "compare { function: FUNCTION_GREATER_OR_EQUAL }"),
    (gs.select(), "select { }"),
    (gs.cast("int8"), "cast { data_type: DATA_TYPE_INT8 }"),
    (gs.gather(), "gather { }"),
    (gs.gather(-1, aligned=True), "gather { axis: -1 aligned: true }"),
    (gs.arange(4), "range { size: 4 }"),
    (gs.arange(axis=0), "range { axis: 0 }"),
    (gs.top_k(3), "top_k { k: 3 }"),
    (gs.top_k(1, indices=True), "top_k { k: 1 indices: true }"),
    (gs.random_normal(), "random { distribution: DISTRIBUTION_NORMAL }"),
    (gs.random_uniform(2, 3), "random { distribution: DISTRIBUTION_UNIFORM shape: [2, 3] }"),
    (gs.random_gumbel(1), "random { distribution: DISTRIBUTION_GUMBEL shape: 1 }"),
    (gs.cumulative_sum(0), "cumulative { function: FUNCTION_SUM axis: 0 }"),
    (gs.cumulative_product(-1), "cumulative { function: FUNCTION_PRODUCT axis: -1 }"),
    (gs.cumulative_max(1, reverse=True), "cumulative { function: FUNCTION_MAX axis: 1 reverse: true }"),
    # An axis of 0 is not an axis that is not set.
    (gs.softmax(0), "elementwise { function: FUNCTION_SOFTMAX axis: 0 }"),
]


@pytest.mark.parametrize(("layer", "text"), MESSAGES)
def test_layers_write_the_message_that_they_mean(layer, text):
    from google.protobuf import text_format

    assert layer.message == text_format.Parse(text, network_pb2.Node())


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: gs.dense(0), "dense.units"),
        (lambda: gs.dense(2.5), "dense.units"),
        (lambda: gs.dense(True), "dense.units"),
        (lambda: gs.dense(2**63), "dense.units"),
        (lambda: gs.dense("10"), "dense.units"),
        (lambda: gs.convolution(8, 0), "convolution.size"),
        (lambda: gs.convolution(8, (3, 3), stride=(1, 1, 1)), "convolution.stride"),
        (lambda: gs.convolution(8, 3, padding="full"), "convolution.padding"),
        (lambda: gs.convolution(8, 3, groups=0), "convolution.groups"),
        (lambda: gs.embedding(0, 4), "embedding.rows"),
        (lambda: gs.max_pooling(2, padding="full"), "pooling.padding"),
        (lambda: gs.dropout(1.0), "dropout.rate"),
        (lambda: gs.dropout(float("nan")), "dropout.rate"),
        (lambda: gs.reshape(-2), "reshape.shape"),
        (lambda: gs.reduce_sum("0"), "reduce_sum.axes"),
        (lambda: gs.group_normalization(0), "normalization.groups"),
        (lambda: gs.attention(0), "attention.heads"),
        (lambda: gs.attention(2, 0), "attention.key_value_heads"),
        (lambda: gs.attention(2, head_size=0), "attention.head_size"),
        (lambda: gs.lstm(-1), "lstm.units"),
        (lambda: gs.transpose(0.5), "transpose.axes"),
        (lambda: gs.slice_axis(0, step=0), "slice.step"),
        (lambda: gs.rearrange("a -> a b", b=0), "rearrange.b"),
        (lambda: gs.pad([0.5]), "pad.low"),
        (lambda: gs.cast("float8"), "cast.dtype"),
        (lambda: gs.gather(None), "gather.axis"),
        (gs.arange, "arange"),
        (lambda: gs.arange(2, axis=0), "arange"),
        (lambda: gs.top_k(0), "top_k.k"),
        (lambda: gs.random_normal(0), "random_normal.shape"),
        (lambda: gs.cumulative_sum("x"), "cumulative_sum.axis"),
        (lambda: gs.variance_scaling(1.0, "fan"), "mode"),
        (lambda: gs.variance_scaling(1.0, distribution="normal"), "distribution"),
    ],
)
def test_attributes_that_make_no_sense_are_refused_at_once(make, field):
    with pytest.raises(gs.InvalidRequest) as caught:
        make()
    assert caught.value.field == field


def test_every_operation_of_the_contract_has_a_layer_or_a_method_of_the_builder():
    layers = {layer.message.WhichOneof("operation") for layer, _ in MESSAGES}
    built = {"parameter", "constant", "arithmetic", "block", "tangent"}
    contract = {field.name for field in network_pb2.Node.DESCRIPTOR.oneofs_by_name["operation"].fields}
    assert layers | built | {"elementwise"} == contract
    assert all(hasattr(gs.GraphBuilder, name) for name in built)


def test_numpy_integers_are_integers():
    assert gs.dense(np.int64(3)) == gs.dense(3)


def test_layers_are_values():
    assert gs.dense(3) == gs.dense(3)
    assert hash(gs.dense(3)) == hash(gs.dense(3))
    assert gs.dense(3) != gs.dense(4)
    assert gs.dense(3, name="a") != gs.dense(3)
    with pytest.raises(AttributeError):
        gs.dense(3).kind = "x"
    gs.dense(3).message.dense.units = 7  # a copy
    assert repr(gs.dense(3, name="a")) == "Layer(dense, name='a')"


@pytest.mark.parametrize(
    ("initializer", "scale", "mode", "uniform"),
    [
        (gs.glorot_uniform(), 1, "FAN_AVERAGE", True),
        (gs.glorot_normal(), 1, "FAN_AVERAGE", False),
        (gs.he_uniform(), 2, "FAN_IN", True),
        (gs.he_normal(), 2, "FAN_IN", False),
        (gs.lecun_uniform(), 1, "FAN_IN", True),
        (gs.lecun_normal(), 1, "FAN_IN", False),
        (gs.variance_scaling(0.5, "fan_out"), 0.5, "FAN_OUT", False),
    ],
)
def test_initializers_that_scale_the_variance(initializer, scale, mode, uniform):
    message = initializer.message.variance_scaling
    modes = network_pb2.VarianceScaling.Mode
    assert (message.scale, modes.Name(message.mode)) == (scale, f"MODE_{mode}")
    assert message.uniform is uniform


def test_initializers_with_one_number():
    assert gs.constant_initializer(0.0).message.WhichOneof("distribution") == "constant"
    assert gs.normal(0.1).message.normal == 0.1
    assert gs.uniform(0.2).message.uniform == 0.2
    assert "normal: 0.1" in repr(gs.normal(0.1))
