from gradserve.v1 import network_pb2 as _network_pb2
from gradserve.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Loss(_message.Message):
    __slots__ = ("output", "softmax_cross_entropy", "binary_cross_entropy", "squared_error", "absolute_error", "huber", "negative_log_likelihood", "kullback_leibler", "next_token", "cotangents", "custom", "sum", "reduction", "example_weights")
    class Reduction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REDUCTION_UNSPECIFIED: _ClassVar[Loss.Reduction]
        REDUCTION_MEAN: _ClassVar[Loss.Reduction]
        REDUCTION_SUM: _ClassVar[Loss.Reduction]
        REDUCTION_SUM_THEN_MEAN: _ClassVar[Loss.Reduction]
    REDUCTION_UNSPECIFIED: Loss.Reduction
    REDUCTION_MEAN: Loss.Reduction
    REDUCTION_SUM: Loss.Reduction
    REDUCTION_SUM_THEN_MEAN: Loss.Reduction
    class Sum(_message.Message):
        __slots__ = ("terms",)
        class Term(_message.Message):
            __slots__ = ("name", "loss", "weight")
            NAME_FIELD_NUMBER: _ClassVar[int]
            LOSS_FIELD_NUMBER: _ClassVar[int]
            WEIGHT_FIELD_NUMBER: _ClassVar[int]
            name: str
            loss: Loss
            weight: float
            def __init__(self, name: _Optional[str] = ..., loss: _Optional[_Union[Loss, _Mapping]] = ..., weight: _Optional[float] = ...) -> None: ...
        TERMS_FIELD_NUMBER: _ClassVar[int]
        terms: _containers.RepeatedCompositeFieldContainer[Loss.Sum.Term]
        def __init__(self, terms: _Optional[_Iterable[_Union[Loss.Sum.Term, _Mapping]]] = ...) -> None: ...
    class Output(_message.Message):
        __slots__ = ("prediction",)
        PREDICTION_FIELD_NUMBER: _ClassVar[int]
        prediction: str
        def __init__(self, prediction: _Optional[str] = ...) -> None: ...
    class SoftmaxCrossEntropy(_message.Message):
        __slots__ = ("prediction", "target", "label_smoothing")
        PREDICTION_FIELD_NUMBER: _ClassVar[int]
        TARGET_FIELD_NUMBER: _ClassVar[int]
        LABEL_SMOOTHING_FIELD_NUMBER: _ClassVar[int]
        prediction: str
        target: str
        label_smoothing: float
        def __init__(self, prediction: _Optional[str] = ..., target: _Optional[str] = ..., label_smoothing: _Optional[float] = ...) -> None: ...
    class BinaryCrossEntropy(_message.Message):
        __slots__ = ("prediction", "target", "from_logits")
        PREDICTION_FIELD_NUMBER: _ClassVar[int]
        TARGET_FIELD_NUMBER: _ClassVar[int]
        FROM_LOGITS_FIELD_NUMBER: _ClassVar[int]
        prediction: str
        target: str
        from_logits: bool
        def __init__(self, prediction: _Optional[str] = ..., target: _Optional[str] = ..., from_logits: bool = ...) -> None: ...
    class SquaredError(_message.Message):
        __slots__ = ("prediction", "target")
        PREDICTION_FIELD_NUMBER: _ClassVar[int]
        TARGET_FIELD_NUMBER: _ClassVar[int]
        prediction: str
        target: str
        def __init__(self, prediction: _Optional[str] = ..., target: _Optional[str] = ...) -> None: ...
    class AbsoluteError(_message.Message):
        __slots__ = ("prediction", "target")
        PREDICTION_FIELD_NUMBER: _ClassVar[int]
        TARGET_FIELD_NUMBER: _ClassVar[int]
        prediction: str
        target: str
        def __init__(self, prediction: _Optional[str] = ..., target: _Optional[str] = ...) -> None: ...
    class Huber(_message.Message):
        __slots__ = ("prediction", "target", "delta")
        PREDICTION_FIELD_NUMBER: _ClassVar[int]
        TARGET_FIELD_NUMBER: _ClassVar[int]
        DELTA_FIELD_NUMBER: _ClassVar[int]
        prediction: str
        target: str
        delta: float
        def __init__(self, prediction: _Optional[str] = ..., target: _Optional[str] = ..., delta: _Optional[float] = ...) -> None: ...
    class NegativeLogLikelihood(_message.Message):
        __slots__ = ("prediction", "target", "from_log")
        PREDICTION_FIELD_NUMBER: _ClassVar[int]
        TARGET_FIELD_NUMBER: _ClassVar[int]
        FROM_LOG_FIELD_NUMBER: _ClassVar[int]
        prediction: str
        target: str
        from_log: bool
        def __init__(self, prediction: _Optional[str] = ..., target: _Optional[str] = ..., from_log: bool = ...) -> None: ...
    class KullbackLeibler(_message.Message):
        __slots__ = ("prediction", "target")
        PREDICTION_FIELD_NUMBER: _ClassVar[int]
        TARGET_FIELD_NUMBER: _ClassVar[int]
        prediction: str
        target: str
        def __init__(self, prediction: _Optional[str] = ..., target: _Optional[str] = ...) -> None: ...
    class NextToken(_message.Message):
        __slots__ = ("prediction", "tokens")
        PREDICTION_FIELD_NUMBER: _ClassVar[int]
        TOKENS_FIELD_NUMBER: _ClassVar[int]
        prediction: str
        tokens: str
        def __init__(self, prediction: _Optional[str] = ..., tokens: _Optional[str] = ...) -> None: ...
    class Cotangents(_message.Message):
        __slots__ = ("by_output", "stacked")
        class ByOutputEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: _tensor_pb2.Tensor
            def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...
        BY_OUTPUT_FIELD_NUMBER: _ClassVar[int]
        STACKED_FIELD_NUMBER: _ClassVar[int]
        by_output: _containers.MessageMap[str, _tensor_pb2.Tensor]
        stacked: bool
        def __init__(self, by_output: _Optional[_Mapping[str, _tensor_pb2.Tensor]] = ..., stacked: bool = ...) -> None: ...
    class Custom(_message.Message):
        __slots__ = ("graph",)
        GRAPH_FIELD_NUMBER: _ClassVar[int]
        graph: _network_pb2.Graph
        def __init__(self, graph: _Optional[_Union[_network_pb2.Graph, _Mapping]] = ...) -> None: ...
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    SOFTMAX_CROSS_ENTROPY_FIELD_NUMBER: _ClassVar[int]
    BINARY_CROSS_ENTROPY_FIELD_NUMBER: _ClassVar[int]
    SQUARED_ERROR_FIELD_NUMBER: _ClassVar[int]
    ABSOLUTE_ERROR_FIELD_NUMBER: _ClassVar[int]
    HUBER_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_LOG_LIKELIHOOD_FIELD_NUMBER: _ClassVar[int]
    KULLBACK_LEIBLER_FIELD_NUMBER: _ClassVar[int]
    NEXT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    COTANGENTS_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_FIELD_NUMBER: _ClassVar[int]
    SUM_FIELD_NUMBER: _ClassVar[int]
    REDUCTION_FIELD_NUMBER: _ClassVar[int]
    EXAMPLE_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    output: Loss.Output
    softmax_cross_entropy: Loss.SoftmaxCrossEntropy
    binary_cross_entropy: Loss.BinaryCrossEntropy
    squared_error: Loss.SquaredError
    absolute_error: Loss.AbsoluteError
    huber: Loss.Huber
    negative_log_likelihood: Loss.NegativeLogLikelihood
    kullback_leibler: Loss.KullbackLeibler
    next_token: Loss.NextToken
    cotangents: Loss.Cotangents
    custom: Loss.Custom
    sum: Loss.Sum
    reduction: Loss.Reduction
    example_weights: str
    def __init__(self, output: _Optional[_Union[Loss.Output, _Mapping]] = ..., softmax_cross_entropy: _Optional[_Union[Loss.SoftmaxCrossEntropy, _Mapping]] = ..., binary_cross_entropy: _Optional[_Union[Loss.BinaryCrossEntropy, _Mapping]] = ..., squared_error: _Optional[_Union[Loss.SquaredError, _Mapping]] = ..., absolute_error: _Optional[_Union[Loss.AbsoluteError, _Mapping]] = ..., huber: _Optional[_Union[Loss.Huber, _Mapping]] = ..., negative_log_likelihood: _Optional[_Union[Loss.NegativeLogLikelihood, _Mapping]] = ..., kullback_leibler: _Optional[_Union[Loss.KullbackLeibler, _Mapping]] = ..., next_token: _Optional[_Union[Loss.NextToken, _Mapping]] = ..., cotangents: _Optional[_Union[Loss.Cotangents, _Mapping]] = ..., custom: _Optional[_Union[Loss.Custom, _Mapping]] = ..., sum: _Optional[_Union[Loss.Sum, _Mapping]] = ..., reduction: _Optional[_Union[Loss.Reduction, str]] = ..., example_weights: _Optional[str] = ...) -> None: ...
