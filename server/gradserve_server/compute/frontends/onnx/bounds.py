"""What a model may ask for beside `Limits`: all counted in Python integers, before anything is built."""

# Fields of the protobuf message, nested ones included: a node of a usual model has 20 to 60.
RECORDS_PER_NODE = 100
# Messages within messages; the protobuf parser's own limit is 100.
MESSAGE_DEPTH = 96
# Bytes of numbers that are not raw_data: a parsed one takes up to eight times its bytes.
PACKED_BYTES = 256 << 20
# Brackets within brackets of ONNX text: its parser recurses.
TEXT_DEPTH = 64
# Functions that call functions.
CALL_DEPTH = 64
# Elements of a value that is computed at tracing; larger ones become part of the program.
FOLDED_ELEMENTS = 1 << 16
# Elements that inputs of a value computed at tracing could make of it.
FOLDED_RESULT_ELEMENTS = 1 << 24
# Turns of a loop that is unrolled because its shapes change, or because a turn decides shapes.
UNROLLED_TURNS = 1024
# Bytes of inputs whose values are part of the program.
STATIC_BYTES = 1 << 20
