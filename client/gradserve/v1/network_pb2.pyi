from gradserve.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class NetworkDefinition(_message.Message):
    __slots__ = ("graph", "onnx", "onnx_text", "stablehlo", "digest", "serialized_graph", "digest_format")
    class Format(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        FORMAT_UNSPECIFIED: _ClassVar[NetworkDefinition.Format]
        FORMAT_GRAPH: _ClassVar[NetworkDefinition.Format]
        FORMAT_ONNX: _ClassVar[NetworkDefinition.Format]
        FORMAT_ONNX_TEXT: _ClassVar[NetworkDefinition.Format]
        FORMAT_STABLEHLO: _ClassVar[NetworkDefinition.Format]
    FORMAT_UNSPECIFIED: NetworkDefinition.Format
    FORMAT_GRAPH: NetworkDefinition.Format
    FORMAT_ONNX: NetworkDefinition.Format
    FORMAT_ONNX_TEXT: NetworkDefinition.Format
    FORMAT_STABLEHLO: NetworkDefinition.Format
    GRAPH_FIELD_NUMBER: _ClassVar[int]
    ONNX_FIELD_NUMBER: _ClassVar[int]
    ONNX_TEXT_FIELD_NUMBER: _ClassVar[int]
    STABLEHLO_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SERIALIZED_GRAPH_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FORMAT_FIELD_NUMBER: _ClassVar[int]
    graph: Graph
    onnx: bytes
    onnx_text: str
    stablehlo: bytes
    digest: _tensor_pb2.Digest
    serialized_graph: bytes
    digest_format: NetworkDefinition.Format
    def __init__(self, graph: _Optional[_Union[Graph, _Mapping]] = ..., onnx: _Optional[bytes] = ..., onnx_text: _Optional[str] = ..., stablehlo: _Optional[bytes] = ..., digest: _Optional[_Union[_tensor_pb2.Digest, _Mapping]] = ..., serialized_graph: _Optional[bytes] = ..., digest_format: _Optional[_Union[NetworkDefinition.Format, str]] = ...) -> None: ...

class Graph(_message.Message):
    __slots__ = ("name", "inputs", "nodes", "outputs")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    inputs: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.TensorSpec]
    nodes: _containers.RepeatedCompositeFieldContainer[Node]
    outputs: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., inputs: _Optional[_Iterable[_Union[_tensor_pb2.TensorSpec, _Mapping]]] = ..., nodes: _Optional[_Iterable[_Union[Node, _Mapping]]] = ..., outputs: _Optional[_Iterable[str]] = ...) -> None: ...

class Node(_message.Message):
    __slots__ = ("name", "inputs", "share", "parameter", "constant", "dense", "convolution", "embedding", "normalization", "attention", "recurrent", "elementwise", "arithmetic", "pooling", "dropout", "reduce", "reshape", "transpose", "concatenate", "slice", "einsum", "block", "gather", "compare", "select", "cast", "range", "top_k", "random", "cumulative", "pad", "rearrange", "tangent")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    PARAMETER_FIELD_NUMBER: _ClassVar[int]
    CONSTANT_FIELD_NUMBER: _ClassVar[int]
    DENSE_FIELD_NUMBER: _ClassVar[int]
    CONVOLUTION_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    NORMALIZATION_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_FIELD_NUMBER: _ClassVar[int]
    RECURRENT_FIELD_NUMBER: _ClassVar[int]
    ELEMENTWISE_FIELD_NUMBER: _ClassVar[int]
    ARITHMETIC_FIELD_NUMBER: _ClassVar[int]
    POOLING_FIELD_NUMBER: _ClassVar[int]
    DROPOUT_FIELD_NUMBER: _ClassVar[int]
    REDUCE_FIELD_NUMBER: _ClassVar[int]
    RESHAPE_FIELD_NUMBER: _ClassVar[int]
    TRANSPOSE_FIELD_NUMBER: _ClassVar[int]
    CONCATENATE_FIELD_NUMBER: _ClassVar[int]
    SLICE_FIELD_NUMBER: _ClassVar[int]
    EINSUM_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    GATHER_FIELD_NUMBER: _ClassVar[int]
    COMPARE_FIELD_NUMBER: _ClassVar[int]
    SELECT_FIELD_NUMBER: _ClassVar[int]
    CAST_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    RANDOM_FIELD_NUMBER: _ClassVar[int]
    CUMULATIVE_FIELD_NUMBER: _ClassVar[int]
    PAD_FIELD_NUMBER: _ClassVar[int]
    REARRANGE_FIELD_NUMBER: _ClassVar[int]
    TANGENT_FIELD_NUMBER: _ClassVar[int]
    name: str
    inputs: _containers.RepeatedScalarFieldContainer[str]
    share: str
    parameter: Parameter
    constant: Constant
    dense: Dense
    convolution: Convolution
    embedding: Embedding
    normalization: Normalization
    attention: Attention
    recurrent: Recurrent
    elementwise: Elementwise
    arithmetic: Arithmetic
    pooling: Pooling
    dropout: Dropout
    reduce: Reduce
    reshape: Reshape
    transpose: Transpose
    concatenate: Concatenate
    slice: Slice
    einsum: Einsum
    block: Block
    gather: Gather
    compare: Compare
    select: Select
    cast: Cast
    range: Range
    top_k: TopK
    random: Random
    cumulative: Cumulative
    pad: Pad
    rearrange: Rearrange
    tangent: Tangent
    def __init__(self, name: _Optional[str] = ..., inputs: _Optional[_Iterable[str]] = ..., share: _Optional[str] = ..., parameter: _Optional[_Union[Parameter, _Mapping]] = ..., constant: _Optional[_Union[Constant, _Mapping]] = ..., dense: _Optional[_Union[Dense, _Mapping]] = ..., convolution: _Optional[_Union[Convolution, _Mapping]] = ..., embedding: _Optional[_Union[Embedding, _Mapping]] = ..., normalization: _Optional[_Union[Normalization, _Mapping]] = ..., attention: _Optional[_Union[Attention, _Mapping]] = ..., recurrent: _Optional[_Union[Recurrent, _Mapping]] = ..., elementwise: _Optional[_Union[Elementwise, _Mapping]] = ..., arithmetic: _Optional[_Union[Arithmetic, _Mapping]] = ..., pooling: _Optional[_Union[Pooling, _Mapping]] = ..., dropout: _Optional[_Union[Dropout, _Mapping]] = ..., reduce: _Optional[_Union[Reduce, _Mapping]] = ..., reshape: _Optional[_Union[Reshape, _Mapping]] = ..., transpose: _Optional[_Union[Transpose, _Mapping]] = ..., concatenate: _Optional[_Union[Concatenate, _Mapping]] = ..., slice: _Optional[_Union[Slice, _Mapping]] = ..., einsum: _Optional[_Union[Einsum, _Mapping]] = ..., block: _Optional[_Union[Block, _Mapping]] = ..., gather: _Optional[_Union[Gather, _Mapping]] = ..., compare: _Optional[_Union[Compare, _Mapping]] = ..., select: _Optional[_Union[Select, _Mapping]] = ..., cast: _Optional[_Union[Cast, _Mapping]] = ..., range: _Optional[_Union[Range, _Mapping]] = ..., top_k: _Optional[_Union[TopK, _Mapping]] = ..., random: _Optional[_Union[Random, _Mapping]] = ..., cumulative: _Optional[_Union[Cumulative, _Mapping]] = ..., pad: _Optional[_Union[Pad, _Mapping]] = ..., rearrange: _Optional[_Union[Rearrange, _Mapping]] = ..., tangent: _Optional[_Union[Tangent, _Mapping]] = ...) -> None: ...

class Initializer(_message.Message):
    __slots__ = ("constant", "normal", "uniform", "variance_scaling")
    CONSTANT_FIELD_NUMBER: _ClassVar[int]
    NORMAL_FIELD_NUMBER: _ClassVar[int]
    UNIFORM_FIELD_NUMBER: _ClassVar[int]
    VARIANCE_SCALING_FIELD_NUMBER: _ClassVar[int]
    constant: float
    normal: float
    uniform: float
    variance_scaling: VarianceScaling
    def __init__(self, constant: _Optional[float] = ..., normal: _Optional[float] = ..., uniform: _Optional[float] = ..., variance_scaling: _Optional[_Union[VarianceScaling, _Mapping]] = ...) -> None: ...

class VarianceScaling(_message.Message):
    __slots__ = ("scale", "mode", "uniform")
    class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        MODE_UNSPECIFIED: _ClassVar[VarianceScaling.Mode]
        MODE_FAN_IN: _ClassVar[VarianceScaling.Mode]
        MODE_FAN_OUT: _ClassVar[VarianceScaling.Mode]
        MODE_FAN_AVERAGE: _ClassVar[VarianceScaling.Mode]
    MODE_UNSPECIFIED: VarianceScaling.Mode
    MODE_FAN_IN: VarianceScaling.Mode
    MODE_FAN_OUT: VarianceScaling.Mode
    MODE_FAN_AVERAGE: VarianceScaling.Mode
    SCALE_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    UNIFORM_FIELD_NUMBER: _ClassVar[int]
    scale: float
    mode: VarianceScaling.Mode
    uniform: bool
    def __init__(self, scale: _Optional[float] = ..., mode: _Optional[_Union[VarianceScaling.Mode, str]] = ..., uniform: bool = ...) -> None: ...

class Parameter(_message.Message):
    __slots__ = ("shape", "initializer")
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    INITIALIZER_FIELD_NUMBER: _ClassVar[int]
    shape: _containers.RepeatedScalarFieldContainer[int]
    initializer: Initializer
    def __init__(self, shape: _Optional[_Iterable[int]] = ..., initializer: _Optional[_Union[Initializer, _Mapping]] = ...) -> None: ...

class Constant(_message.Message):
    __slots__ = ("value", "number")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    value: _tensor_pb2.Tensor
    number: float
    def __init__(self, value: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., number: _Optional[float] = ...) -> None: ...

class Dense(_message.Message):
    __slots__ = ("units", "without_bias", "kernel_initializer")
    UNITS_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_BIAS_FIELD_NUMBER: _ClassVar[int]
    KERNEL_INITIALIZER_FIELD_NUMBER: _ClassVar[int]
    units: int
    without_bias: bool
    kernel_initializer: Initializer
    def __init__(self, units: _Optional[int] = ..., without_bias: bool = ..., kernel_initializer: _Optional[_Union[Initializer, _Mapping]] = ...) -> None: ...

class Window(_message.Message):
    __slots__ = ("size", "stride", "dilation", "padding")
    class Padding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        PADDING_UNSPECIFIED: _ClassVar[Window.Padding]
        PADDING_VALID: _ClassVar[Window.Padding]
        PADDING_SAME: _ClassVar[Window.Padding]
    PADDING_UNSPECIFIED: Window.Padding
    PADDING_VALID: Window.Padding
    PADDING_SAME: Window.Padding
    SIZE_FIELD_NUMBER: _ClassVar[int]
    STRIDE_FIELD_NUMBER: _ClassVar[int]
    DILATION_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    size: _containers.RepeatedScalarFieldContainer[int]
    stride: _containers.RepeatedScalarFieldContainer[int]
    dilation: _containers.RepeatedScalarFieldContainer[int]
    padding: Window.Padding
    def __init__(self, size: _Optional[_Iterable[int]] = ..., stride: _Optional[_Iterable[int]] = ..., dilation: _Optional[_Iterable[int]] = ..., padding: _Optional[_Union[Window.Padding, str]] = ...) -> None: ...

class Convolution(_message.Message):
    __slots__ = ("filters", "window", "groups", "transposed", "without_bias", "kernel_initializer")
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    TRANSPOSED_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_BIAS_FIELD_NUMBER: _ClassVar[int]
    KERNEL_INITIALIZER_FIELD_NUMBER: _ClassVar[int]
    filters: int
    window: Window
    groups: int
    transposed: bool
    without_bias: bool
    kernel_initializer: Initializer
    def __init__(self, filters: _Optional[int] = ..., window: _Optional[_Union[Window, _Mapping]] = ..., groups: _Optional[int] = ..., transposed: bool = ..., without_bias: bool = ..., kernel_initializer: _Optional[_Union[Initializer, _Mapping]] = ...) -> None: ...

class Embedding(_message.Message):
    __slots__ = ("rows", "features")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    rows: int
    features: int
    def __init__(self, rows: _Optional[int] = ..., features: _Optional[int] = ...) -> None: ...

class Normalization(_message.Message):
    __slots__ = ("kind", "epsilon", "groups", "momentum", "without_scale", "without_bias", "fixed_statistics")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Normalization.Kind]
        KIND_LAYER: _ClassVar[Normalization.Kind]
        KIND_RMS: _ClassVar[Normalization.Kind]
        KIND_GROUP: _ClassVar[Normalization.Kind]
        KIND_BATCH: _ClassVar[Normalization.Kind]
    KIND_UNSPECIFIED: Normalization.Kind
    KIND_LAYER: Normalization.Kind
    KIND_RMS: Normalization.Kind
    KIND_GROUP: Normalization.Kind
    KIND_BATCH: Normalization.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    MOMENTUM_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_SCALE_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_BIAS_FIELD_NUMBER: _ClassVar[int]
    FIXED_STATISTICS_FIELD_NUMBER: _ClassVar[int]
    kind: Normalization.Kind
    epsilon: float
    groups: int
    momentum: float
    without_scale: bool
    without_bias: bool
    fixed_statistics: bool
    def __init__(self, kind: _Optional[_Union[Normalization.Kind, str]] = ..., epsilon: _Optional[float] = ..., groups: _Optional[int] = ..., momentum: _Optional[float] = ..., without_scale: bool = ..., without_bias: bool = ..., fixed_statistics: bool = ...) -> None: ...

class Attention(_message.Message):
    __slots__ = ("heads", "key_value_heads", "head_size", "causal", "rotary_base", "without_bias", "mask")
    HEADS_FIELD_NUMBER: _ClassVar[int]
    KEY_VALUE_HEADS_FIELD_NUMBER: _ClassVar[int]
    HEAD_SIZE_FIELD_NUMBER: _ClassVar[int]
    CAUSAL_FIELD_NUMBER: _ClassVar[int]
    ROTARY_BASE_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_BIAS_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    heads: int
    key_value_heads: int
    head_size: int
    causal: bool
    rotary_base: float
    without_bias: bool
    mask: str
    def __init__(self, heads: _Optional[int] = ..., key_value_heads: _Optional[int] = ..., head_size: _Optional[int] = ..., causal: bool = ..., rotary_base: _Optional[float] = ..., without_bias: bool = ..., mask: _Optional[str] = ...) -> None: ...

class Recurrent(_message.Message):
    __slots__ = ("cell", "units", "last_only", "bidirectional", "mask")
    class Cell(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CELL_UNSPECIFIED: _ClassVar[Recurrent.Cell]
        CELL_SIMPLE: _ClassVar[Recurrent.Cell]
        CELL_LSTM: _ClassVar[Recurrent.Cell]
        CELL_GRU: _ClassVar[Recurrent.Cell]
    CELL_UNSPECIFIED: Recurrent.Cell
    CELL_SIMPLE: Recurrent.Cell
    CELL_LSTM: Recurrent.Cell
    CELL_GRU: Recurrent.Cell
    CELL_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    LAST_ONLY_FIELD_NUMBER: _ClassVar[int]
    BIDIRECTIONAL_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    cell: Recurrent.Cell
    units: int
    last_only: bool
    bidirectional: bool
    mask: str
    def __init__(self, cell: _Optional[_Union[Recurrent.Cell, str]] = ..., units: _Optional[int] = ..., last_only: bool = ..., bidirectional: bool = ..., mask: _Optional[str] = ...) -> None: ...

class Elementwise(_message.Message):
    __slots__ = ("function", "alpha", "axis")
    class Function(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        FUNCTION_UNSPECIFIED: _ClassVar[Elementwise.Function]
        FUNCTION_RELU: _ClassVar[Elementwise.Function]
        FUNCTION_LEAKY_RELU: _ClassVar[Elementwise.Function]
        FUNCTION_ELU: _ClassVar[Elementwise.Function]
        FUNCTION_GELU_TANH: _ClassVar[Elementwise.Function]
        FUNCTION_GELU_EXACT: _ClassVar[Elementwise.Function]
        FUNCTION_SILU: _ClassVar[Elementwise.Function]
        FUNCTION_SIGMOID: _ClassVar[Elementwise.Function]
        FUNCTION_TANH: _ClassVar[Elementwise.Function]
        FUNCTION_SOFTPLUS: _ClassVar[Elementwise.Function]
        FUNCTION_SOFTMAX: _ClassVar[Elementwise.Function]
        FUNCTION_LOG_SOFTMAX: _ClassVar[Elementwise.Function]
        FUNCTION_EXP: _ClassVar[Elementwise.Function]
        FUNCTION_LOG: _ClassVar[Elementwise.Function]
        FUNCTION_SQRT: _ClassVar[Elementwise.Function]
        FUNCTION_SQUARE: _ClassVar[Elementwise.Function]
        FUNCTION_ABS: _ClassVar[Elementwise.Function]
        FUNCTION_NEGATE: _ClassVar[Elementwise.Function]
        FUNCTION_SIN: _ClassVar[Elementwise.Function]
        FUNCTION_COS: _ClassVar[Elementwise.Function]
        FUNCTION_ERF: _ClassVar[Elementwise.Function]
        FUNCTION_STOP_GRADIENT: _ClassVar[Elementwise.Function]
        FUNCTION_LOG_SIGMOID: _ClassVar[Elementwise.Function]
        FUNCTION_LOG1P: _ClassVar[Elementwise.Function]
        FUNCTION_EXPM1: _ClassVar[Elementwise.Function]
        FUNCTION_LOG_GAMMA: _ClassVar[Elementwise.Function]
        FUNCTION_RSQRT: _ClassVar[Elementwise.Function]
        FUNCTION_SIGN: _ClassVar[Elementwise.Function]
        FUNCTION_NOT: _ClassVar[Elementwise.Function]
    FUNCTION_UNSPECIFIED: Elementwise.Function
    FUNCTION_RELU: Elementwise.Function
    FUNCTION_LEAKY_RELU: Elementwise.Function
    FUNCTION_ELU: Elementwise.Function
    FUNCTION_GELU_TANH: Elementwise.Function
    FUNCTION_GELU_EXACT: Elementwise.Function
    FUNCTION_SILU: Elementwise.Function
    FUNCTION_SIGMOID: Elementwise.Function
    FUNCTION_TANH: Elementwise.Function
    FUNCTION_SOFTPLUS: Elementwise.Function
    FUNCTION_SOFTMAX: Elementwise.Function
    FUNCTION_LOG_SOFTMAX: Elementwise.Function
    FUNCTION_EXP: Elementwise.Function
    FUNCTION_LOG: Elementwise.Function
    FUNCTION_SQRT: Elementwise.Function
    FUNCTION_SQUARE: Elementwise.Function
    FUNCTION_ABS: Elementwise.Function
    FUNCTION_NEGATE: Elementwise.Function
    FUNCTION_SIN: Elementwise.Function
    FUNCTION_COS: Elementwise.Function
    FUNCTION_ERF: Elementwise.Function
    FUNCTION_STOP_GRADIENT: Elementwise.Function
    FUNCTION_LOG_SIGMOID: Elementwise.Function
    FUNCTION_LOG1P: Elementwise.Function
    FUNCTION_EXPM1: Elementwise.Function
    FUNCTION_LOG_GAMMA: Elementwise.Function
    FUNCTION_RSQRT: Elementwise.Function
    FUNCTION_SIGN: Elementwise.Function
    FUNCTION_NOT: Elementwise.Function
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    AXIS_FIELD_NUMBER: _ClassVar[int]
    function: Elementwise.Function
    alpha: float
    axis: int
    def __init__(self, function: _Optional[_Union[Elementwise.Function, str]] = ..., alpha: _Optional[float] = ..., axis: _Optional[int] = ...) -> None: ...

class Arithmetic(_message.Message):
    __slots__ = ("function",)
    class Function(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        FUNCTION_UNSPECIFIED: _ClassVar[Arithmetic.Function]
        FUNCTION_ADD: _ClassVar[Arithmetic.Function]
        FUNCTION_SUBTRACT: _ClassVar[Arithmetic.Function]
        FUNCTION_MULTIPLY: _ClassVar[Arithmetic.Function]
        FUNCTION_DIVIDE: _ClassVar[Arithmetic.Function]
        FUNCTION_POWER: _ClassVar[Arithmetic.Function]
        FUNCTION_MAXIMUM: _ClassVar[Arithmetic.Function]
        FUNCTION_MINIMUM: _ClassVar[Arithmetic.Function]
        FUNCTION_MATMUL: _ClassVar[Arithmetic.Function]
    FUNCTION_UNSPECIFIED: Arithmetic.Function
    FUNCTION_ADD: Arithmetic.Function
    FUNCTION_SUBTRACT: Arithmetic.Function
    FUNCTION_MULTIPLY: Arithmetic.Function
    FUNCTION_DIVIDE: Arithmetic.Function
    FUNCTION_POWER: Arithmetic.Function
    FUNCTION_MAXIMUM: Arithmetic.Function
    FUNCTION_MINIMUM: Arithmetic.Function
    FUNCTION_MATMUL: Arithmetic.Function
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    function: Arithmetic.Function
    def __init__(self, function: _Optional[_Union[Arithmetic.Function, str]] = ...) -> None: ...

class Pooling(_message.Message):
    __slots__ = ("function", "window")
    class Function(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        FUNCTION_UNSPECIFIED: _ClassVar[Pooling.Function]
        FUNCTION_MAX: _ClassVar[Pooling.Function]
        FUNCTION_MEAN: _ClassVar[Pooling.Function]
    FUNCTION_UNSPECIFIED: Pooling.Function
    FUNCTION_MAX: Pooling.Function
    FUNCTION_MEAN: Pooling.Function
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    function: Pooling.Function
    window: Window
    def __init__(self, function: _Optional[_Union[Pooling.Function, str]] = ..., window: _Optional[_Union[Window, _Mapping]] = ...) -> None: ...

class Dropout(_message.Message):
    __slots__ = ("rate",)
    RATE_FIELD_NUMBER: _ClassVar[int]
    rate: float
    def __init__(self, rate: _Optional[float] = ...) -> None: ...

class Reduce(_message.Message):
    __slots__ = ("function", "axes", "keep_axes")
    class Function(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        FUNCTION_UNSPECIFIED: _ClassVar[Reduce.Function]
        FUNCTION_SUM: _ClassVar[Reduce.Function]
        FUNCTION_MEAN: _ClassVar[Reduce.Function]
        FUNCTION_MAX: _ClassVar[Reduce.Function]
        FUNCTION_MIN: _ClassVar[Reduce.Function]
        FUNCTION_LOG_SUM_EXP: _ClassVar[Reduce.Function]
    FUNCTION_UNSPECIFIED: Reduce.Function
    FUNCTION_SUM: Reduce.Function
    FUNCTION_MEAN: Reduce.Function
    FUNCTION_MAX: Reduce.Function
    FUNCTION_MIN: Reduce.Function
    FUNCTION_LOG_SUM_EXP: Reduce.Function
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    AXES_FIELD_NUMBER: _ClassVar[int]
    KEEP_AXES_FIELD_NUMBER: _ClassVar[int]
    function: Reduce.Function
    axes: _containers.RepeatedScalarFieldContainer[int]
    keep_axes: bool
    def __init__(self, function: _Optional[_Union[Reduce.Function, str]] = ..., axes: _Optional[_Iterable[int]] = ..., keep_axes: bool = ...) -> None: ...

class Reshape(_message.Message):
    __slots__ = ("shape",)
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    shape: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, shape: _Optional[_Iterable[int]] = ...) -> None: ...

class Transpose(_message.Message):
    __slots__ = ("axes",)
    AXES_FIELD_NUMBER: _ClassVar[int]
    axes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, axes: _Optional[_Iterable[int]] = ...) -> None: ...

class Concatenate(_message.Message):
    __slots__ = ("axis",)
    AXIS_FIELD_NUMBER: _ClassVar[int]
    axis: int
    def __init__(self, axis: _Optional[int] = ...) -> None: ...

class Slice(_message.Message):
    __slots__ = ("axis", "start", "stop", "step")
    AXIS_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    axis: int
    start: int
    stop: int
    step: int
    def __init__(self, axis: _Optional[int] = ..., start: _Optional[int] = ..., stop: _Optional[int] = ..., step: _Optional[int] = ...) -> None: ...

class Einsum(_message.Message):
    __slots__ = ("equation",)
    EQUATION_FIELD_NUMBER: _ClassVar[int]
    equation: str
    def __init__(self, equation: _Optional[str] = ...) -> None: ...

class Block(_message.Message):
    __slots__ = ("body", "repeat", "share_parameters")
    BODY_FIELD_NUMBER: _ClassVar[int]
    REPEAT_FIELD_NUMBER: _ClassVar[int]
    SHARE_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    body: Graph
    repeat: int
    share_parameters: bool
    def __init__(self, body: _Optional[_Union[Graph, _Mapping]] = ..., repeat: _Optional[int] = ..., share_parameters: bool = ...) -> None: ...

class Gather(_message.Message):
    __slots__ = ("axis", "aligned")
    AXIS_FIELD_NUMBER: _ClassVar[int]
    ALIGNED_FIELD_NUMBER: _ClassVar[int]
    axis: int
    aligned: bool
    def __init__(self, axis: _Optional[int] = ..., aligned: bool = ...) -> None: ...

class Compare(_message.Message):
    __slots__ = ("function",)
    class Function(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        FUNCTION_UNSPECIFIED: _ClassVar[Compare.Function]
        FUNCTION_EQUAL: _ClassVar[Compare.Function]
        FUNCTION_NOT_EQUAL: _ClassVar[Compare.Function]
        FUNCTION_LESS: _ClassVar[Compare.Function]
        FUNCTION_LESS_OR_EQUAL: _ClassVar[Compare.Function]
        FUNCTION_GREATER: _ClassVar[Compare.Function]
        FUNCTION_GREATER_OR_EQUAL: _ClassVar[Compare.Function]
    FUNCTION_UNSPECIFIED: Compare.Function
    FUNCTION_EQUAL: Compare.Function
    FUNCTION_NOT_EQUAL: Compare.Function
    FUNCTION_LESS: Compare.Function
    FUNCTION_LESS_OR_EQUAL: Compare.Function
    FUNCTION_GREATER: Compare.Function
    FUNCTION_GREATER_OR_EQUAL: Compare.Function
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    function: Compare.Function
    def __init__(self, function: _Optional[_Union[Compare.Function, str]] = ...) -> None: ...

class Select(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Cast(_message.Message):
    __slots__ = ("data_type",)
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    data_type: _tensor_pb2.DataType
    def __init__(self, data_type: _Optional[_Union[_tensor_pb2.DataType, str]] = ...) -> None: ...

class Range(_message.Message):
    __slots__ = ("size", "axis")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    AXIS_FIELD_NUMBER: _ClassVar[int]
    size: int
    axis: int
    def __init__(self, size: _Optional[int] = ..., axis: _Optional[int] = ...) -> None: ...

class TopK(_message.Message):
    __slots__ = ("k", "indices")
    K_FIELD_NUMBER: _ClassVar[int]
    INDICES_FIELD_NUMBER: _ClassVar[int]
    k: int
    indices: bool
    def __init__(self, k: _Optional[int] = ..., indices: bool = ...) -> None: ...

class Random(_message.Message):
    __slots__ = ("distribution", "shape")
    class Distribution(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        DISTRIBUTION_UNSPECIFIED: _ClassVar[Random.Distribution]
        DISTRIBUTION_NORMAL: _ClassVar[Random.Distribution]
        DISTRIBUTION_UNIFORM: _ClassVar[Random.Distribution]
        DISTRIBUTION_GUMBEL: _ClassVar[Random.Distribution]
    DISTRIBUTION_UNSPECIFIED: Random.Distribution
    DISTRIBUTION_NORMAL: Random.Distribution
    DISTRIBUTION_UNIFORM: Random.Distribution
    DISTRIBUTION_GUMBEL: Random.Distribution
    DISTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    distribution: Random.Distribution
    shape: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, distribution: _Optional[_Union[Random.Distribution, str]] = ..., shape: _Optional[_Iterable[int]] = ...) -> None: ...

class Cumulative(_message.Message):
    __slots__ = ("function", "axis", "reverse")
    class Function(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        FUNCTION_UNSPECIFIED: _ClassVar[Cumulative.Function]
        FUNCTION_SUM: _ClassVar[Cumulative.Function]
        FUNCTION_PRODUCT: _ClassVar[Cumulative.Function]
        FUNCTION_MAX: _ClassVar[Cumulative.Function]
    FUNCTION_UNSPECIFIED: Cumulative.Function
    FUNCTION_SUM: Cumulative.Function
    FUNCTION_PRODUCT: Cumulative.Function
    FUNCTION_MAX: Cumulative.Function
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    AXIS_FIELD_NUMBER: _ClassVar[int]
    REVERSE_FIELD_NUMBER: _ClassVar[int]
    function: Cumulative.Function
    axis: int
    reverse: bool
    def __init__(self, function: _Optional[_Union[Cumulative.Function, str]] = ..., axis: _Optional[int] = ..., reverse: bool = ...) -> None: ...

class Pad(_message.Message):
    __slots__ = ("low", "high", "value")
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    low: _containers.RepeatedScalarFieldContainer[int]
    high: _containers.RepeatedScalarFieldContainer[int]
    value: float
    def __init__(self, low: _Optional[_Iterable[int]] = ..., high: _Optional[_Iterable[int]] = ..., value: _Optional[float] = ...) -> None: ...

class Rearrange(_message.Message):
    __slots__ = ("pattern", "sizes")
    class SizesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    pattern: str
    sizes: _containers.ScalarMap[str, int]
    def __init__(self, pattern: _Optional[str] = ..., sizes: _Optional[_Mapping[str, int]] = ...) -> None: ...

class Tangent(_message.Message):
    __slots__ = ("of",)
    OF_FIELD_NUMBER: _ClassVar[int]
    of: str
    def __init__(self, of: _Optional[str] = ...) -> None: ...
