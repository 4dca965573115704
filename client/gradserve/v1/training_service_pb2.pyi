import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from gradserve.v1 import gradient_service_pb2 as _gradient_service_pb2
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

class TrainRequest(_message.Message):
    __slots__ = ("sequence", "open", "forward_backward", "update", "step", "evaluate", "snapshot", "chunk", "resume")
    class Resume(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class Open(_message.Message):
        __slots__ = ("network", "weights", "loss", "optimizer", "options", "parameters", "low_rank")
        NETWORK_FIELD_NUMBER: _ClassVar[int]
        WEIGHTS_FIELD_NUMBER: _ClassVar[int]
        LOSS_FIELD_NUMBER: _ClassVar[int]
        OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
        OPTIONS_FIELD_NUMBER: _ClassVar[int]
        PARAMETERS_FIELD_NUMBER: _ClassVar[int]
        LOW_RANK_FIELD_NUMBER: _ClassVar[int]
        network: _network_pb2.NetworkDefinition
        weights: _gradient_service_pb2.Weights
        loss: _loss_pb2.Loss
        optimizer: Optimizer
        options: _gradient_service_pb2.ComputeOptions
        parameters: _containers.RepeatedScalarFieldContainer[str]
        low_rank: LowRank
        def __init__(self, network: _Optional[_Union[_network_pb2.NetworkDefinition, _Mapping]] = ..., weights: _Optional[_Union[_gradient_service_pb2.Weights, _Mapping]] = ..., loss: _Optional[_Union[_loss_pb2.Loss, _Mapping]] = ..., optimizer: _Optional[_Union[Optimizer, _Mapping]] = ..., options: _Optional[_Union[_gradient_service_pb2.ComputeOptions, _Mapping]] = ..., parameters: _Optional[_Iterable[str]] = ..., low_rank: _Optional[_Union[LowRank, _Mapping]] = ...) -> None: ...
    class ForwardBackward(_message.Message):
        __slots__ = ("batch", "gradients")
        class BatchEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: _tensor_pb2.Tensor
            def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...
        BATCH_FIELD_NUMBER: _ClassVar[int]
        GRADIENTS_FIELD_NUMBER: _ClassVar[int]
        batch: _containers.MessageMap[str, _tensor_pb2.Tensor]
        gradients: _gradient_service_pb2.GradientSelection
        def __init__(self, batch: _Optional[_Mapping[str, _tensor_pb2.Tensor]] = ..., gradients: _Optional[_Union[_gradient_service_pb2.GradientSelection, _Mapping]] = ...) -> None: ...
    class Update(_message.Message):
        __slots__ = ("learning_rate",)
        LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
        learning_rate: float
        def __init__(self, learning_rate: _Optional[float] = ...) -> None: ...
    class Step(_message.Message):
        __slots__ = ("batch", "learning_rate")
        class BatchEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: _tensor_pb2.Tensor
            def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...
        BATCH_FIELD_NUMBER: _ClassVar[int]
        LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
        batch: _containers.MessageMap[str, _tensor_pb2.Tensor]
        learning_rate: float
        def __init__(self, batch: _Optional[_Mapping[str, _tensor_pb2.Tensor]] = ..., learning_rate: _Optional[float] = ...) -> None: ...
    class Evaluate(_message.Message):
        __slots__ = ("batch", "outputs")
        class BatchEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: _tensor_pb2.Tensor
            def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...
        BATCH_FIELD_NUMBER: _ClassVar[int]
        OUTPUTS_FIELD_NUMBER: _ClassVar[int]
        batch: _containers.MessageMap[str, _tensor_pb2.Tensor]
        outputs: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, batch: _Optional[_Mapping[str, _tensor_pb2.Tensor]] = ..., outputs: _Optional[_Iterable[str]] = ...) -> None: ...
    class Snapshot(_message.Message):
        __slots__ = ("weights_only", "return_data")
        WEIGHTS_ONLY_FIELD_NUMBER: _ClassVar[int]
        RETURN_DATA_FIELD_NUMBER: _ClassVar[int]
        weights_only: bool
        return_data: bool
        def __init__(self, weights_only: bool = ..., return_data: bool = ...) -> None: ...
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    FORWARD_BACKWARD_FIELD_NUMBER: _ClassVar[int]
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    EVALUATE_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    open: TrainRequest.Open
    forward_backward: TrainRequest.ForwardBackward
    update: TrainRequest.Update
    step: TrainRequest.Step
    evaluate: TrainRequest.Evaluate
    snapshot: TrainRequest.Snapshot
    chunk: _tensor_pb2.Chunk
    resume: TrainRequest.Resume
    def __init__(self, sequence: _Optional[int] = ..., open: _Optional[_Union[TrainRequest.Open, _Mapping]] = ..., forward_backward: _Optional[_Union[TrainRequest.ForwardBackward, _Mapping]] = ..., update: _Optional[_Union[TrainRequest.Update, _Mapping]] = ..., step: _Optional[_Union[TrainRequest.Step, _Mapping]] = ..., evaluate: _Optional[_Union[TrainRequest.Evaluate, _Mapping]] = ..., snapshot: _Optional[_Union[TrainRequest.Snapshot, _Mapping]] = ..., chunk: _Optional[_Union[_tensor_pb2.Chunk, _Mapping]] = ..., resume: _Optional[_Union[TrainRequest.Resume, _Mapping]] = ...) -> None: ...

class LowRank(_message.Message):
    __slots__ = ("rank", "alpha", "parameters")
    RANK_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    rank: int
    alpha: float
    parameters: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, rank: _Optional[int] = ..., alpha: _Optional[float] = ..., parameters: _Optional[_Iterable[str]] = ...) -> None: ...

class TrainResponse(_message.Message):
    __slots__ = ("sequence", "updates", "loss", "summary", "gradients", "outputs", "snapshot", "skipped", "execute", "failure", "chunk", "snapshot_attachment", "going_away")
    class GradientsEntry(_message.Message):
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
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    UPDATES_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    GRADIENTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    EXECUTE_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_ATTACHMENT_FIELD_NUMBER: _ClassVar[int]
    GOING_AWAY_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    updates: int
    loss: float
    summary: _gradient_service_pb2.GradientSummary
    gradients: _containers.MessageMap[str, _tensor_pb2.Tensor]
    outputs: _containers.MessageMap[str, _tensor_pb2.Tensor]
    snapshot: _tensor_pb2.Digest
    skipped: bool
    execute: _duration_pb2.Duration
    failure: _gradient_service_pb2.Failure
    chunk: _tensor_pb2.Chunk
    snapshot_attachment: _tensor_pb2.Attachment
    going_away: _gradient_service_pb2.GoingAway
    def __init__(self, sequence: _Optional[int] = ..., updates: _Optional[int] = ..., loss: _Optional[float] = ..., summary: _Optional[_Union[_gradient_service_pb2.GradientSummary, _Mapping]] = ..., gradients: _Optional[_Mapping[str, _tensor_pb2.Tensor]] = ..., outputs: _Optional[_Mapping[str, _tensor_pb2.Tensor]] = ..., snapshot: _Optional[_Union[_tensor_pb2.Digest, _Mapping]] = ..., skipped: bool = ..., execute: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., failure: _Optional[_Union[_gradient_service_pb2.Failure, _Mapping]] = ..., chunk: _Optional[_Union[_tensor_pb2.Chunk, _Mapping]] = ..., snapshot_attachment: _Optional[_Union[_tensor_pb2.Attachment, _Mapping]] = ..., going_away: _Optional[_Union[_gradient_service_pb2.GoingAway, _Mapping]] = ...) -> None: ...

class Optimizer(_message.Message):
    __slots__ = ("sgd", "adam", "adafactor", "lion", "rmsprop", "learning_rate", "clip_global_norm", "without_weight_decay")
    SGD_FIELD_NUMBER: _ClassVar[int]
    ADAM_FIELD_NUMBER: _ClassVar[int]
    ADAFACTOR_FIELD_NUMBER: _ClassVar[int]
    LION_FIELD_NUMBER: _ClassVar[int]
    RMSPROP_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    CLIP_GLOBAL_NORM_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
    sgd: StochasticGradientDescent
    adam: Adam
    adafactor: Adafactor
    lion: Lion
    rmsprop: RmsProp
    learning_rate: Schedule
    clip_global_norm: float
    without_weight_decay: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, sgd: _Optional[_Union[StochasticGradientDescent, _Mapping]] = ..., adam: _Optional[_Union[Adam, _Mapping]] = ..., adafactor: _Optional[_Union[Adafactor, _Mapping]] = ..., lion: _Optional[_Union[Lion, _Mapping]] = ..., rmsprop: _Optional[_Union[RmsProp, _Mapping]] = ..., learning_rate: _Optional[_Union[Schedule, _Mapping]] = ..., clip_global_norm: _Optional[float] = ..., without_weight_decay: _Optional[_Iterable[str]] = ...) -> None: ...

class Schedule(_message.Message):
    __slots__ = ("peak", "warmup_updates", "decay", "decay_updates", "end")
    class Decay(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        DECAY_UNSPECIFIED: _ClassVar[Schedule.Decay]
        DECAY_COSINE: _ClassVar[Schedule.Decay]
        DECAY_LINEAR: _ClassVar[Schedule.Decay]
        DECAY_EXPONENTIAL: _ClassVar[Schedule.Decay]
    DECAY_UNSPECIFIED: Schedule.Decay
    DECAY_COSINE: Schedule.Decay
    DECAY_LINEAR: Schedule.Decay
    DECAY_EXPONENTIAL: Schedule.Decay
    PEAK_FIELD_NUMBER: _ClassVar[int]
    WARMUP_UPDATES_FIELD_NUMBER: _ClassVar[int]
    DECAY_FIELD_NUMBER: _ClassVar[int]
    DECAY_UPDATES_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    peak: float
    warmup_updates: int
    decay: Schedule.Decay
    decay_updates: int
    end: float
    def __init__(self, peak: _Optional[float] = ..., warmup_updates: _Optional[int] = ..., decay: _Optional[_Union[Schedule.Decay, str]] = ..., decay_updates: _Optional[int] = ..., end: _Optional[float] = ...) -> None: ...

class StochasticGradientDescent(_message.Message):
    __slots__ = ("momentum", "nesterov", "weight_decay")
    MOMENTUM_FIELD_NUMBER: _ClassVar[int]
    NESTEROV_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
    momentum: float
    nesterov: bool
    weight_decay: float
    def __init__(self, momentum: _Optional[float] = ..., nesterov: bool = ..., weight_decay: _Optional[float] = ...) -> None: ...

class Adam(_message.Message):
    __slots__ = ("beta1", "beta2", "epsilon", "weight_decay")
    BETA1_FIELD_NUMBER: _ClassVar[int]
    BETA2_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float
    def __init__(self, beta1: _Optional[float] = ..., beta2: _Optional[float] = ..., epsilon: _Optional[float] = ..., weight_decay: _Optional[float] = ...) -> None: ...

class Adafactor(_message.Message):
    __slots__ = ("weight_decay",)
    WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
    weight_decay: float
    def __init__(self, weight_decay: _Optional[float] = ...) -> None: ...

class Lion(_message.Message):
    __slots__ = ("beta1", "beta2", "weight_decay")
    BETA1_FIELD_NUMBER: _ClassVar[int]
    BETA2_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
    beta1: float
    beta2: float
    weight_decay: float
    def __init__(self, beta1: _Optional[float] = ..., beta2: _Optional[float] = ..., weight_decay: _Optional[float] = ...) -> None: ...

class RmsProp(_message.Message):
    __slots__ = ("decay", "epsilon", "momentum")
    DECAY_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    MOMENTUM_FIELD_NUMBER: _ClassVar[int]
    decay: float
    epsilon: float
    momentum: float
    def __init__(self, decay: _Optional[float] = ..., epsilon: _Optional[float] = ..., momentum: _Optional[float] = ...) -> None: ...
