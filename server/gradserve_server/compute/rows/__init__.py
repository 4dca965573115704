"""Whether examples of a batch stay apart in a program, and the program of some of them alone."""

from gradserve_server.compute.rows.analysis import find_mixing, find_rows
from gradserve_server.compute.rows.layout import Mixing, Rows

__all__ = ["Mixing", "Rows", "find_mixing", "find_rows"]
