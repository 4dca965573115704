import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from gradserve.v1 import loss_pb2 as _loss_pb2
from gradserve.v1 import network_pb2 as _network_pb2
from gradserve.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Weights(_message.Message):
    __slots__ = ("tensors", "safetensors", "attachment", "digest", "seed", "keep")
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    SAFETENSORS_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENT_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    KEEP_FIELD_NUMBER: _ClassVar[int]
    tensors: NamedTensors
    safetensors: bytes
    attachment: _tensor_pb2.Attachment
    digest: _tensor_pb2.Digest
    seed: int
    keep: bool
    def __init__(self, tensors: _Optional[_Union[NamedTensors, _Mapping]] = ..., safetensors: _Optional[bytes] = ..., attachment: _Optional[_Union[_tensor_pb2.Attachment, _Mapping]] = ..., digest: _Optional[_Union[_tensor_pb2.Digest, _Mapping]] = ..., seed: _Optional[int] = ..., keep: bool = ...) -> None: ...

class NamedTensors(_message.Message):
    __slots__ = ("by_name",)
    class ByNameEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _tensor_pb2.Tensor
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...
    BY_NAME_FIELD_NUMBER: _ClassVar[int]
    by_name: _containers.MessageMap[str, _tensor_pb2.Tensor]
    def __init__(self, by_name: _Optional[_Mapping[str, _tensor_pb2.Tensor]] = ...) -> None: ...

class ComputeOptions(_message.Message):
    __slots__ = ("precision", "checkpointing", "loss_scale", "micro_batches", "mode", "seed", "exact_batch")
    class Precision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        PRECISION_UNSPECIFIED: _ClassVar[ComputeOptions.Precision]
        PRECISION_BFLOAT16: _ClassVar[ComputeOptions.Precision]
        PRECISION_FLOAT16: _ClassVar[ComputeOptions.Precision]
    PRECISION_UNSPECIFIED: ComputeOptions.Precision
    PRECISION_BFLOAT16: ComputeOptions.Precision
    PRECISION_FLOAT16: ComputeOptions.Precision
    class Checkpointing(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CHECKPOINTING_UNSPECIFIED: _ClassVar[ComputeOptions.Checkpointing]
        CHECKPOINTING_OFF: _ClassVar[ComputeOptions.Checkpointing]
        CHECKPOINTING_PRODUCTS: _ClassVar[ComputeOptions.Checkpointing]
        CHECKPOINTING_BLOCKS: _ClassVar[ComputeOptions.Checkpointing]
        CHECKPOINTING_SQRT: _ClassVar[ComputeOptions.Checkpointing]
    CHECKPOINTING_UNSPECIFIED: ComputeOptions.Checkpointing
    CHECKPOINTING_OFF: ComputeOptions.Checkpointing
    CHECKPOINTING_PRODUCTS: ComputeOptions.Checkpointing
    CHECKPOINTING_BLOCKS: ComputeOptions.Checkpointing
    CHECKPOINTING_SQRT: ComputeOptions.Checkpointing
    class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        MODE_UNSPECIFIED: _ClassVar[ComputeOptions.Mode]
        MODE_INFERENCE: _ClassVar[ComputeOptions.Mode]
        MODE_TRAINING: _ClassVar[ComputeOptions.Mode]
    MODE_UNSPECIFIED: ComputeOptions.Mode
    MODE_INFERENCE: ComputeOptions.Mode
    MODE_TRAINING: ComputeOptions.Mode
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTING_FIELD_NUMBER: _ClassVar[int]
    LOSS_SCALE_FIELD_NUMBER: _ClassVar[int]
    MICRO_BATCHES_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    EXACT_BATCH_FIELD_NUMBER: _ClassVar[int]
    precision: ComputeOptions.Precision
    checkpointing: ComputeOptions.Checkpointing
    loss_scale: float
    micro_batches: int
    mode: ComputeOptions.Mode
    seed: int
    exact_batch: bool
    def __init__(self, precision: _Optional[_Union[ComputeOptions.Precision, str]] = ..., checkpointing: _Optional[_Union[ComputeOptions.Checkpointing, str]] = ..., loss_scale: _Optional[float] = ..., micro_batches: _Optional[int] = ..., mode: _Optional[_Union[ComputeOptions.Mode, str]] = ..., seed: _Optional[int] = ..., exact_batch: bool = ...) -> None: ...

class GradientSelection(_message.Message):
    __slots__ = ("parameters", "inputs", "per_example", "summary_only", "clip_global_norm", "data_type", "as_safetensors", "without_parameters", "clip_example_norm", "example_summary")
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    PER_EXAMPLE_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_ONLY_FIELD_NUMBER: _ClassVar[int]
    CLIP_GLOBAL_NORM_FIELD_NUMBER: _ClassVar[int]
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    AS_SAFETENSORS_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    CLIP_EXAMPLE_NORM_FIELD_NUMBER: _ClassVar[int]
    EXAMPLE_SUMMARY_FIELD_NUMBER: _ClassVar[int]
    parameters: _containers.RepeatedScalarFieldContainer[str]
    inputs: _containers.RepeatedScalarFieldContainer[str]
    per_example: bool
    summary_only: bool
    clip_global_norm: float
    data_type: _tensor_pb2.DataType
    as_safetensors: bool
    without_parameters: bool
    clip_example_norm: float
    example_summary: bool
    def __init__(self, parameters: _Optional[_Iterable[str]] = ..., inputs: _Optional[_Iterable[str]] = ..., per_example: bool = ..., summary_only: bool = ..., clip_global_norm: _Optional[float] = ..., data_type: _Optional[_Union[_tensor_pb2.DataType, str]] = ..., as_safetensors: bool = ..., without_parameters: bool = ..., clip_example_norm: _Optional[float] = ..., example_summary: bool = ...) -> None: ...

class ComputeGradientsRequest(_message.Message):
    __slots__ = ("network", "weights", "batch", "loss", "gradients", "options", "outputs", "shared")
    class BatchEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _tensor_pb2.Tensor
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    GRADIENTS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    network: _network_pb2.NetworkDefinition
    weights: Weights
    batch: _containers.MessageMap[str, _tensor_pb2.Tensor]
    loss: _loss_pb2.Loss
    gradients: GradientSelection
    options: ComputeOptions
    outputs: _containers.RepeatedScalarFieldContainer[str]
    shared: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, network: _Optional[_Union[_network_pb2.NetworkDefinition, _Mapping]] = ..., weights: _Optional[_Union[Weights, _Mapping]] = ..., batch: _Optional[_Mapping[str, _tensor_pb2.Tensor]] = ..., loss: _Optional[_Union[_loss_pb2.Loss, _Mapping]] = ..., gradients: _Optional[_Union[GradientSelection, _Mapping]] = ..., options: _Optional[_Union[ComputeOptions, _Mapping]] = ..., outputs: _Optional[_Iterable[str]] = ..., shared: _Optional[_Iterable[str]] = ...) -> None: ...

class ComputeGradientsResponse(_message.Message):
    __slots__ = ("loss", "tensors", "safetensors", "attachment", "input_gradients", "summary", "outputs", "updated_statistics", "weight_sum", "network_digest", "weights_digest", "timing", "terms", "example_losses", "example_norms")
    class InputGradientsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _tensor_pb2.Tensor
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...
    class OutputsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _tensor_pb2.Tensor
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...
    class UpdatedStatisticsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _tensor_pb2.Tensor
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...
    class TermsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    LOSS_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    SAFETENSORS_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENT_FIELD_NUMBER: _ClassVar[int]
    INPUT_GRADIENTS_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    UPDATED_STATISTICS_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_SUM_FIELD_NUMBER: _ClassVar[int]
    NETWORK_DIGEST_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    EXAMPLE_LOSSES_FIELD_NUMBER: _ClassVar[int]
    EXAMPLE_NORMS_FIELD_NUMBER: _ClassVar[int]
    loss: float
    tensors: NamedTensors
    safetensors: bytes
    attachment: _tensor_pb2.Attachment
    input_gradients: _containers.MessageMap[str, _tensor_pb2.Tensor]
    summary: GradientSummary
    outputs: _containers.MessageMap[str, _tensor_pb2.Tensor]
    updated_statistics: _containers.MessageMap[str, _tensor_pb2.Tensor]
    weight_sum: float
    network_digest: _tensor_pb2.Digest
    weights_digest: _tensor_pb2.Digest
    timing: Timing
    terms: _containers.ScalarMap[str, float]
    example_losses: _tensor_pb2.Tensor
    example_norms: _tensor_pb2.Tensor
    def __init__(self, loss: _Optional[float] = ..., tensors: _Optional[_Union[NamedTensors, _Mapping]] = ..., safetensors: _Optional[bytes] = ..., attachment: _Optional[_Union[_tensor_pb2.Attachment, _Mapping]] = ..., input_gradients: _Optional[_Mapping[str, _tensor_pb2.Tensor]] = ..., summary: _Optional[_Union[GradientSummary, _Mapping]] = ..., outputs: _Optional[_Mapping[str, _tensor_pb2.Tensor]] = ..., updated_statistics: _Optional[_Mapping[str, _tensor_pb2.Tensor]] = ..., weight_sum: _Optional[float] = ..., network_digest: _Optional[_Union[_tensor_pb2.Digest, _Mapping]] = ..., weights_digest: _Optional[_Union[_tensor_pb2.Digest, _Mapping]] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ..., terms: _Optional[_Mapping[str, float]] = ..., example_losses: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., example_norms: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...

class GradientSummary(_message.Message):
    __slots__ = ("global_norm", "norms", "finite")
    class NormsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    GLOBAL_NORM_FIELD_NUMBER: _ClassVar[int]
    NORMS_FIELD_NUMBER: _ClassVar[int]
    FINITE_FIELD_NUMBER: _ClassVar[int]
    global_norm: float
    norms: _containers.ScalarMap[str, float]
    finite: bool
    def __init__(self, global_norm: _Optional[float] = ..., norms: _Optional[_Mapping[str, float]] = ..., finite: bool = ...) -> None: ...

class Timing(_message.Message):
    __slots__ = ("queue", "compile", "execute", "batched_requests", "padded_examples", "checkpointing")
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    COMPILE_FIELD_NUMBER: _ClassVar[int]
    EXECUTE_FIELD_NUMBER: _ClassVar[int]
    BATCHED_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    PADDED_EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTING_FIELD_NUMBER: _ClassVar[int]
    queue: _duration_pb2.Duration
    compile: _duration_pb2.Duration
    execute: _duration_pb2.Duration
    batched_requests: int
    padded_examples: int
    checkpointing: ComputeOptions.Checkpointing
    def __init__(self, queue: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., compile: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., execute: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., batched_requests: _Optional[int] = ..., padded_examples: _Optional[int] = ..., checkpointing: _Optional[_Union[ComputeOptions.Checkpointing, str]] = ...) -> None: ...

class StreamRequest(_message.Message):
    __slots__ = ("request_id", "compute_gradients", "forward", "trace", "compute_jacobian_product", "compute_hessian_product", "chunk", "cancel", "timeout", "trace_parent")
    class Cancel(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_GRADIENTS_FIELD_NUMBER: _ClassVar[int]
    FORWARD_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_JACOBIAN_PRODUCT_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_HESSIAN_PRODUCT_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    TRACE_PARENT_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    compute_gradients: ComputeGradientsRequest
    forward: ForwardRequest
    trace: TraceRequest
    compute_jacobian_product: ComputeJacobianProductRequest
    compute_hessian_product: ComputeHessianProductRequest
    chunk: _tensor_pb2.Chunk
    cancel: StreamRequest.Cancel
    timeout: _duration_pb2.Duration
    trace_parent: str
    def __init__(self, request_id: _Optional[int] = ..., compute_gradients: _Optional[_Union[ComputeGradientsRequest, _Mapping]] = ..., forward: _Optional[_Union[ForwardRequest, _Mapping]] = ..., trace: _Optional[_Union[TraceRequest, _Mapping]] = ..., compute_jacobian_product: _Optional[_Union[ComputeJacobianProductRequest, _Mapping]] = ..., compute_hessian_product: _Optional[_Union[ComputeHessianProductRequest, _Mapping]] = ..., chunk: _Optional[_Union[_tensor_pb2.Chunk, _Mapping]] = ..., cancel: _Optional[_Union[StreamRequest.Cancel, _Mapping]] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., trace_parent: _Optional[str] = ...) -> None: ...

class StreamResponse(_message.Message):
    __slots__ = ("request_id", "compute_gradients", "forward", "trace", "compute_jacobian_product", "compute_hessian_product", "chunk", "failure", "going_away")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_GRADIENTS_FIELD_NUMBER: _ClassVar[int]
    FORWARD_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_JACOBIAN_PRODUCT_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_HESSIAN_PRODUCT_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    GOING_AWAY_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    compute_gradients: ComputeGradientsResponse
    forward: ForwardResponse
    trace: TraceResponse
    compute_jacobian_product: ComputeJacobianProductResponse
    compute_hessian_product: ComputeHessianProductResponse
    chunk: _tensor_pb2.Chunk
    failure: Failure
    going_away: GoingAway
    def __init__(self, request_id: _Optional[int] = ..., compute_gradients: _Optional[_Union[ComputeGradientsResponse, _Mapping]] = ..., forward: _Optional[_Union[ForwardResponse, _Mapping]] = ..., trace: _Optional[_Union[TraceResponse, _Mapping]] = ..., compute_jacobian_product: _Optional[_Union[ComputeJacobianProductResponse, _Mapping]] = ..., compute_hessian_product: _Optional[_Union[ComputeHessianProductResponse, _Mapping]] = ..., chunk: _Optional[_Union[_tensor_pb2.Chunk, _Mapping]] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ..., going_away: _Optional[_Union[GoingAway, _Mapping]] = ...) -> None: ...

class GoingAway(_message.Message):
    __slots__ = ("grace",)
    GRACE_FIELD_NUMBER: _ClassVar[int]
    grace: _duration_pb2.Duration
    def __init__(self, grace: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("code", "message", "status", "reason", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    status: bytes
    reason: str
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ..., status: _Optional[bytes] = ..., reason: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ForwardRequest(_message.Message):
    __slots__ = ("network", "weights", "batch", "loss", "options", "outputs")
    class BatchEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _tensor_pb2.Tensor
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    network: _network_pb2.NetworkDefinition
    weights: Weights
    batch: _containers.MessageMap[str, _tensor_pb2.Tensor]
    loss: _loss_pb2.Loss
    options: ComputeOptions
    outputs: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, network: _Optional[_Union[_network_pb2.NetworkDefinition, _Mapping]] = ..., weights: _Optional[_Union[Weights, _Mapping]] = ..., batch: _Optional[_Mapping[str, _tensor_pb2.Tensor]] = ..., loss: _Optional[_Union[_loss_pb2.Loss, _Mapping]] = ..., options: _Optional[_Union[ComputeOptions, _Mapping]] = ..., outputs: _Optional[_Iterable[str]] = ...) -> None: ...

class ForwardResponse(_message.Message):
    __slots__ = ("outputs", "loss", "timing")
    class OutputsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _tensor_pb2.Tensor
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    outputs: _containers.MessageMap[str, _tensor_pb2.Tensor]
    loss: float
    timing: Timing
    def __init__(self, outputs: _Optional[_Mapping[str, _tensor_pb2.Tensor]] = ..., loss: _Optional[float] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ...) -> None: ...

class TraceRequest(_message.Message):
    __slots__ = ("network", "weights", "batch", "loss", "options", "whole_tensors_up_to", "names")
    class BatchEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _tensor_pb2.Tensor
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    WHOLE_TENSORS_UP_TO_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    network: _network_pb2.NetworkDefinition
    weights: Weights
    batch: _containers.MessageMap[str, _tensor_pb2.Tensor]
    loss: _loss_pb2.Loss
    options: ComputeOptions
    whole_tensors_up_to: int
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, network: _Optional[_Union[_network_pb2.NetworkDefinition, _Mapping]] = ..., weights: _Optional[_Union[Weights, _Mapping]] = ..., batch: _Optional[_Mapping[str, _tensor_pb2.Tensor]] = ..., loss: _Optional[_Union[_loss_pb2.Loss, _Mapping]] = ..., options: _Optional[_Union[ComputeOptions, _Mapping]] = ..., whole_tensors_up_to: _Optional[int] = ..., names: _Optional[_Iterable[str]] = ...) -> None: ...

class TraceResponse(_message.Message):
    __slots__ = ("loss", "values", "flow", "timing")
    LOSS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    loss: float
    values: _containers.RepeatedCompositeFieldContainer[TracedValue]
    flow: GradientFlow
    timing: Timing
    def __init__(self, loss: _Optional[float] = ..., values: _Optional[_Iterable[_Union[TracedValue, _Mapping]]] = ..., flow: _Optional[_Union[GradientFlow, _Mapping]] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ...) -> None: ...

class TracedValue(_message.Message):
    __slots__ = ("name", "operation", "inputs", "value", "gradient", "value_tensor", "gradient_tensor", "chain_rule")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_FIELD_NUMBER: _ClassVar[int]
    VALUE_TENSOR_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_TENSOR_FIELD_NUMBER: _ClassVar[int]
    CHAIN_RULE_FIELD_NUMBER: _ClassVar[int]
    name: str
    operation: str
    inputs: _containers.RepeatedScalarFieldContainer[str]
    value: TensorStatistics
    gradient: TensorStatistics
    value_tensor: _tensor_pb2.Tensor
    gradient_tensor: _tensor_pb2.Tensor
    chain_rule: str
    def __init__(self, name: _Optional[str] = ..., operation: _Optional[str] = ..., inputs: _Optional[_Iterable[str]] = ..., value: _Optional[_Union[TensorStatistics, _Mapping]] = ..., gradient: _Optional[_Union[TensorStatistics, _Mapping]] = ..., value_tensor: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., gradient_tensor: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., chain_rule: _Optional[str] = ...) -> None: ...

class TensorStatistics(_message.Message):
    __slots__ = ("data_type", "shape", "mean", "standard_deviation", "minimum", "maximum", "norm", "root_mean_square", "zero_fraction", "non_finite")
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    STANDARD_DEVIATION_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    NORM_FIELD_NUMBER: _ClassVar[int]
    ROOT_MEAN_SQUARE_FIELD_NUMBER: _ClassVar[int]
    ZERO_FRACTION_FIELD_NUMBER: _ClassVar[int]
    NON_FINITE_FIELD_NUMBER: _ClassVar[int]
    data_type: _tensor_pb2.DataType
    shape: _containers.RepeatedScalarFieldContainer[int]
    mean: float
    standard_deviation: float
    minimum: float
    maximum: float
    norm: float
    root_mean_square: float
    zero_fraction: float
    non_finite: int
    def __init__(self, data_type: _Optional[_Union[_tensor_pb2.DataType, str]] = ..., shape: _Optional[_Iterable[int]] = ..., mean: _Optional[float] = ..., standard_deviation: _Optional[float] = ..., minimum: _Optional[float] = ..., maximum: _Optional[float] = ..., norm: _Optional[float] = ..., root_mean_square: _Optional[float] = ..., zero_fraction: _Optional[float] = ..., non_finite: _Optional[int] = ...) -> None: ...

class GradientFlow(_message.Message):
    __slots__ = ("verdict", "factor_per_layer", "places", "advice")
    class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        VERDICT_UNSPECIFIED: _ClassVar[GradientFlow.Verdict]
        VERDICT_HEALTHY: _ClassVar[GradientFlow.Verdict]
        VERDICT_VANISHING: _ClassVar[GradientFlow.Verdict]
        VERDICT_EXPLODING: _ClassVar[GradientFlow.Verdict]
        VERDICT_NON_FINITE: _ClassVar[GradientFlow.Verdict]
        VERDICT_DISCONNECTED: _ClassVar[GradientFlow.Verdict]
    VERDICT_UNSPECIFIED: GradientFlow.Verdict
    VERDICT_HEALTHY: GradientFlow.Verdict
    VERDICT_VANISHING: GradientFlow.Verdict
    VERDICT_EXPLODING: GradientFlow.Verdict
    VERDICT_NON_FINITE: GradientFlow.Verdict
    VERDICT_DISCONNECTED: GradientFlow.Verdict
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    FACTOR_PER_LAYER_FIELD_NUMBER: _ClassVar[int]
    PLACES_FIELD_NUMBER: _ClassVar[int]
    ADVICE_FIELD_NUMBER: _ClassVar[int]
    verdict: GradientFlow.Verdict
    factor_per_layer: float
    places: _containers.RepeatedScalarFieldContainer[str]
    advice: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, verdict: _Optional[_Union[GradientFlow.Verdict, str]] = ..., factor_per_layer: _Optional[float] = ..., places: _Optional[_Iterable[str]] = ..., advice: _Optional[_Iterable[str]] = ...) -> None: ...

class ComputeJacobianProductRequest(_message.Message):
    __slots__ = ("network", "weights", "batch", "weight_tangents", "input_tangents", "options")
    class BatchEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _tensor_pb2.Tensor
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...
    class WeightTangentsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _tensor_pb2.Tensor
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...
    class InputTangentsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _tensor_pb2.Tensor
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_TANGENTS_FIELD_NUMBER: _ClassVar[int]
    INPUT_TANGENTS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    network: _network_pb2.NetworkDefinition
    weights: Weights
    batch: _containers.MessageMap[str, _tensor_pb2.Tensor]
    weight_tangents: _containers.MessageMap[str, _tensor_pb2.Tensor]
    input_tangents: _containers.MessageMap[str, _tensor_pb2.Tensor]
    options: ComputeOptions
    def __init__(self, network: _Optional[_Union[_network_pb2.NetworkDefinition, _Mapping]] = ..., weights: _Optional[_Union[Weights, _Mapping]] = ..., batch: _Optional[_Mapping[str, _tensor_pb2.Tensor]] = ..., weight_tangents: _Optional[_Mapping[str, _tensor_pb2.Tensor]] = ..., input_tangents: _Optional[_Mapping[str, _tensor_pb2.Tensor]] = ..., options: _Optional[_Union[ComputeOptions, _Mapping]] = ...) -> None: ...

class ComputeJacobianProductResponse(_message.Message):
    __slots__ = ("outputs", "output_tangents", "timing")
    class OutputsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _tensor_pb2.Tensor
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...
    class OutputTangentsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _tensor_pb2.Tensor
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TANGENTS_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    outputs: _containers.MessageMap[str, _tensor_pb2.Tensor]
    output_tangents: _containers.MessageMap[str, _tensor_pb2.Tensor]
    timing: Timing
    def __init__(self, outputs: _Optional[_Mapping[str, _tensor_pb2.Tensor]] = ..., output_tangents: _Optional[_Mapping[str, _tensor_pb2.Tensor]] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ...) -> None: ...

class ComputeHessianProductRequest(_message.Message):
    __slots__ = ("network", "weights", "batch", "loss", "vector", "matrix", "options")
    class Matrix(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        MATRIX_UNSPECIFIED: _ClassVar[ComputeHessianProductRequest.Matrix]
        MATRIX_HESSIAN: _ClassVar[ComputeHessianProductRequest.Matrix]
        MATRIX_GAUSS_NEWTON: _ClassVar[ComputeHessianProductRequest.Matrix]
    MATRIX_UNSPECIFIED: ComputeHessianProductRequest.Matrix
    MATRIX_HESSIAN: ComputeHessianProductRequest.Matrix
    MATRIX_GAUSS_NEWTON: ComputeHessianProductRequest.Matrix
    class BatchEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _tensor_pb2.Tensor
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...
    class VectorEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _tensor_pb2.Tensor
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    MATRIX_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    network: _network_pb2.NetworkDefinition
    weights: Weights
    batch: _containers.MessageMap[str, _tensor_pb2.Tensor]
    loss: _loss_pb2.Loss
    vector: _containers.MessageMap[str, _tensor_pb2.Tensor]
    matrix: ComputeHessianProductRequest.Matrix
    options: ComputeOptions
    def __init__(self, network: _Optional[_Union[_network_pb2.NetworkDefinition, _Mapping]] = ..., weights: _Optional[_Union[Weights, _Mapping]] = ..., batch: _Optional[_Mapping[str, _tensor_pb2.Tensor]] = ..., loss: _Optional[_Union[_loss_pb2.Loss, _Mapping]] = ..., vector: _Optional[_Mapping[str, _tensor_pb2.Tensor]] = ..., matrix: _Optional[_Union[ComputeHessianProductRequest.Matrix, str]] = ..., options: _Optional[_Union[ComputeOptions, _Mapping]] = ...) -> None: ...

class ComputeHessianProductResponse(_message.Message):
    __slots__ = ("loss", "product", "timing")
    class ProductEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _tensor_pb2.Tensor
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...
    LOSS_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    loss: float
    product: _containers.MessageMap[str, _tensor_pb2.Tensor]
    timing: Timing
    def __init__(self, loss: _Optional[float] = ..., product: _Optional[_Mapping[str, _tensor_pb2.Tensor]] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ...) -> None: ...

class DescribeNetworkRequest(_message.Message):
    __slots__ = ("network", "dimensions", "options", "loss", "gradients")
    class DimensionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    DIMENSIONS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    GRADIENTS_FIELD_NUMBER: _ClassVar[int]
    network: _network_pb2.NetworkDefinition
    dimensions: _containers.ScalarMap[str, int]
    options: ComputeOptions
    loss: _loss_pb2.Loss
    gradients: GradientSelection
    def __init__(self, network: _Optional[_Union[_network_pb2.NetworkDefinition, _Mapping]] = ..., dimensions: _Optional[_Mapping[str, int]] = ..., options: _Optional[_Union[ComputeOptions, _Mapping]] = ..., loss: _Optional[_Union[_loss_pb2.Loss, _Mapping]] = ..., gradients: _Optional[_Union[GradientSelection, _Mapping]] = ...) -> None: ...

class DescribeNetworkResponse(_message.Message):
    __slots__ = ("digest", "inputs", "outputs", "parameters", "parameter_count", "flops", "memory", "statistics")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    PARAMETER_COUNT_FIELD_NUMBER: _ClassVar[int]
    FLOPS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    digest: _tensor_pb2.Digest
    inputs: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.TensorSpec]
    outputs: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.TensorSpec]
    parameters: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.TensorSpec]
    parameter_count: int
    flops: int
    memory: _containers.RepeatedCompositeFieldContainer[MemoryPlan]
    statistics: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.TensorSpec]
    def __init__(self, digest: _Optional[_Union[_tensor_pb2.Digest, _Mapping]] = ..., inputs: _Optional[_Iterable[_Union[_tensor_pb2.TensorSpec, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[_tensor_pb2.TensorSpec, _Mapping]]] = ..., parameters: _Optional[_Iterable[_Union[_tensor_pb2.TensorSpec, _Mapping]]] = ..., parameter_count: _Optional[int] = ..., flops: _Optional[int] = ..., memory: _Optional[_Iterable[_Union[MemoryPlan, _Mapping]]] = ..., statistics: _Optional[_Iterable[_Union[_tensor_pb2.TensorSpec, _Mapping]]] = ...) -> None: ...

class MemoryPlan(_message.Message):
    __slots__ = ("checkpointing", "peak_bytes", "fits")
    CHECKPOINTING_FIELD_NUMBER: _ClassVar[int]
    PEAK_BYTES_FIELD_NUMBER: _ClassVar[int]
    FITS_FIELD_NUMBER: _ClassVar[int]
    checkpointing: ComputeOptions.Checkpointing
    peak_bytes: int
    fits: bool
    def __init__(self, checkpointing: _Optional[_Union[ComputeOptions.Checkpointing, str]] = ..., peak_bytes: _Optional[int] = ..., fits: bool = ...) -> None: ...

class InitializeWeightsRequest(_message.Message):
    __slots__ = ("network", "seed", "keep_only")
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    KEEP_ONLY_FIELD_NUMBER: _ClassVar[int]
    network: _network_pb2.NetworkDefinition
    seed: int
    keep_only: bool
    def __init__(self, network: _Optional[_Union[_network_pb2.NetworkDefinition, _Mapping]] = ..., seed: _Optional[int] = ..., keep_only: bool = ...) -> None: ...

class InitializeWeightsResponse(_message.Message):
    __slots__ = ("safetensors", "digest")
    SAFETENSORS_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    safetensors: bytes
    digest: _tensor_pb2.Digest
    def __init__(self, safetensors: _Optional[bytes] = ..., digest: _Optional[_Union[_tensor_pb2.Digest, _Mapping]] = ...) -> None: ...

class GetServerInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ("version", "platform", "devices", "limits", "onnx_operators", "operations", "losses", "optimizers", "versions")
    class LimitsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class VersionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    ONNX_OPERATORS_FIELD_NUMBER: _ClassVar[int]
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    LOSSES_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZERS_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    version: str
    platform: str
    devices: _containers.RepeatedScalarFieldContainer[str]
    limits: _containers.ScalarMap[str, int]
    onnx_operators: _containers.RepeatedScalarFieldContainer[str]
    operations: _containers.RepeatedScalarFieldContainer[str]
    losses: _containers.RepeatedScalarFieldContainer[str]
    optimizers: _containers.RepeatedScalarFieldContainer[str]
    versions: _containers.ScalarMap[str, str]
    def __init__(self, version: _Optional[str] = ..., platform: _Optional[str] = ..., devices: _Optional[_Iterable[str]] = ..., limits: _Optional[_Mapping[str, int]] = ..., onnx_operators: _Optional[_Iterable[str]] = ..., operations: _Optional[_Iterable[str]] = ..., losses: _Optional[_Iterable[str]] = ..., optimizers: _Optional[_Iterable[str]] = ..., versions: _Optional[_Mapping[str, str]] = ...) -> None: ...
