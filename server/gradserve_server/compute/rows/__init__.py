"""Whether examples of a batch stay apart in a program, and the program of some of them alone."""

from gradserve_server.compute.rows.analysis import find_mixing, find_rows
from gradserve_server.compute.rows.layout import Form, Mixing, Rows, State
from gradserve_server.compute.rows.part import Part, part_of
from gradserve_server.compute.rows.plan import InseparableError, join_parts, take
from gradserve_server.compute.rows.sizes import find_size_dependence

__all__ = [
    "Form",
    "InseparableError",
    "Mixing",
    "Part",
    "Rows",
    "State",
    "find_mixing",
    "find_rows",
    "find_size_dependence",
    "join_parts",
    "part_of",
    "take",
]
