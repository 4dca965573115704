"""The command line: `gradserve serve | demo | grad | check | trace | describe`.

Each command lives in a file of its own and is imported only when it runs, so that `--help` is
quick. Exit codes: 0 done, 1 the server or the computation failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import gradserve as gs
from gradserve.cli import arguments
from gradserve.cli.usage import UsageError

__all__ = ["main"]

FAILED, USAGE, INTERRUPTED = 1, 2, 130


def main(given: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit code; `given` is sys.argv[1:] if not set."""
    words = list(sys.argv[1:] if given is None else given)
    try:
        if words[:1] == ["serve"]:  # Its arguments are the server's own, --help among them.
            from gradserve.cli import serve

            return serve.run(words[1:])
        return _run(words)
    except UsageError as error:
        print(f"gradserve: error: {error}", file=sys.stderr)
        return USAGE
    except gs.MissingExtra as error:
        print(f"gradserve: error: {error}", file=sys.stderr)
        return FAILED
    except gs.GradserveError as error:
        from gradserve.cli import problems, terminal

        problems.show(error, terminal.console(stderr=True))
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # Whoever read our output has had enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _run(words: list[str]) -> int:
    options = arguments.parser().parse_args(words)
    match options.command:
        case "demo":
            from gradserve.cli import demo

            return demo.run(options)
        case "grad":
            from gradserve.cli import grad

            return grad.run(options)
        case "check":
            from gradserve.cli import check

            return check.run(options)
        case "trace":
            from gradserve.cli import trace

            return trace.run(options)
        case "describe":
            from gradserve.cli import describe

            return describe.run(options)
    raise AssertionError(f"no such command: {options.command}")
