"""The arguments of each command."""

from __future__ import annotations

import argparse
from pathlib import Path

import gradserve as gs

NETWORK = "a network: .json or .binpb, .onnx, .stablehlo"
PARAMETERS = 'names or patterns, such as "*" "!backbone/*"; all if not given'


def parser() -> argparse.ArgumentParser:
    """The whole command line; `serve` is listed here and parsed by the server."""
    top = argparse.ArgumentParser(
        prog="gradserve",
        description="Gradients as a service: a network, weights and a batch in; the loss and its gradients out.",
    )
    top.add_argument("--version", action="version", version=f"gradserve {gs.__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("serve", help="run a server (gradserve serve --help)", add_help=False)
    _demo(commands.add_parser("demo", help="gradients explained, and networks that learn"))
    _grad(commands.add_parser("grad", help="the loss and its gradients, from files to a file"))
    _check(commands.add_parser("check", help="gradients against finite differences of the loss"))
    _trace(commands.add_parser("trace", help="every value and gradient with its chain rule, and how gradients flow"))
    _describe(commands.add_parser("describe", help="inputs, outputs, parameters, cost"))
    return top


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Explains the gradients of a small network, trains two networks on digits, and shows why a network of a "
        "hundred layers learns or does not."
    )
    parser.add_argument("--part", type=int, choices=(1, 2, 3), help="only this part; all if not set")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("build"),
        metavar="FOLDER",
        help="where the plots and pages of part 3 go (default: %(default)s)",
    )
    _server(parser)


def _grad(parser: argparse.ArgumentParser) -> None:
    parser.description = "Computes a loss and its gradients and writes them as safetensors."
    _request(parser)
    add = parser.add_argument
    add(
        "--output",
        type=Path,
        default=Path("gradients.safetensors"),
        metavar="FILE",
        help="where gradients go, those of inputs too (default: %(default)s)",
    )
    add(
        "--statistics",
        type=Path,
        metavar="FILE",
        help="where batch statistics go that the forward pass updated, as safetensors",
    )
    add("--parameters", nargs="+", default=[], metavar="PATTERN", help=PARAMETERS)
    add("--inputs", nargs="+", default=[], metavar="NAME", help="gradients of these inputs too")
    _how(parser)
    add(
        "--clip-global-norm",
        type=_positive,
        metavar="NORM",
        help="scale gradients so that their global norm is at most this",
    )
    _server(parser)
    _json(parser)


def _check(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Holds gradients against central differences of the loss, in float64: along random directions, for each "
        "parameter alone, and for single elements. The exit code is 1 where one differs."
    )
    _request(parser)
    add = parser.add_argument
    add("--parameters", nargs="+", default=[], metavar="PATTERN", help=PARAMETERS)
    add("--inputs", nargs="+", default=[], metavar="NAME", help="check gradients of these inputs too")
    add(
        "--directions",
        type=_count,
        default=2,
        metavar="N",
        help="random directions over all parameters (default: %(default)s)",
    )
    add("--elements", type=_count, default=2, metavar="N", help="elements of each parameter (default: %(default)s)")
    add("--tolerance", type=_positive, metavar="RATIO", help="largest relative difference; 1e-5 if not given")
    _how(parser)
    _server(parser)
    _json(parser)


def _describe(parser: argparse.ArgumentParser) -> None:
    parser.description = "Shows what a network takes, gives and holds, and what a batch costs."
    add = parser.add_argument
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("file", nargs="?", type=Path, metavar="FILE", help=NETWORK)
    which.add_argument("--network", type=Path, metavar="FILE", help="the same")
    add(
        "--dimension",
        type=_dimension,
        action="append",
        default=[],
        metavar="NAME=SIZE",
        help="size of a named dimension, for the cost; may be given again",
    )
    add("--loss", type=Path, metavar="FILE", help="for the cost of its backward pass")
    _server(parser)
    _json(parser)


def _trace(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Shows every value of a forward and backward pass with its gradient and the chain rule there, and judges how "
        "gradients flow. Writes a page to explore the graph in a browser, and a plot of gradient size over depth."
    )
    _request(parser)
    add = parser.add_argument
    add("--names", nargs="+", default=[], metavar="PATTERN", help=PARAMETERS)
    add(
        "--page",
        type=Path,
        default=Path("trace.html"),
        metavar="FILE",
        help="where the page goes, one file that needs no network (default: %(default)s)",
    )
    add(
        "--plot",
        type=Path,
        default=Path("trace.png"),
        metavar="FILE",
        help="where the plot goes: .png, .svg or .pdf (default: %(default)s)",
    )
    add(
        "--whole-tensors-up-to",
        type=_count,
        default=64,
        metavar="N",
        help="values and gradients of at most N elements come whole (default: %(default)s)",
    )
    add("--all", action="store_true", help="print every layer of repeated blocks")
    _how(parser)
    _server(parser)
    _json(parser)


def _request(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--network", type=Path, required=True, metavar="FILE", help=NETWORK)
    add(
        "--weights",
        metavar="FILE|seed:N",
        help="a safetensors file, or fresh weights from a seed; an ONNX model's own if not given",
    )
    add("--batch", type=Path, required=True, metavar="FILE", help="inputs and targets, .npz")
    add("--loss", type=Path, required=True, metavar="FILE", help="a loss, .json or .binpb")


def _how(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mode", choices=("training", "inference"), help="for dropout and batch normalization")
    parser.add_argument("--seed", type=int, default=0, help="of dropout (default: %(default)s)")


def _server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--address", metavar="HOST:PORT", help="a running server; starts a local one if not given")
    parser.add_argument("--timeout", type=_positive, metavar="SECONDS", help="of one call; none if not given")


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return number


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _dimension(text: str) -> tuple[str, int]:
    name, equals, size = text.partition("=")
    if not (name and equals and size.isascii() and size.isdigit() and int(size) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=SIZE, such as batch=32")
    return name, int(size)
