"""Small charts of characters: bars over depth, and curves of losses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.text import Text

from gradserve.cli import terminal

BARS, PLAIN_BARS = " ▁▂▃▄▅▆▇█", " .:-=+*#@"
MARKS, PLAIN_MARKS = "●○◆◇", "*o#+"
COLOURS = ("yellow", "green", "cyan", "magenta")


def bars(sizes: Sequence[float], width: int, console: Console, decades: float = 12.0) -> str:
    """Sizes as bars on a scale of decades below the largest; what is 0 or smaller than that has none.

    Args:
        sizes: at least 0, one for each layer.
        width: how many bars; each is the largest of its part of the layers.
        console: tells which characters there are.
        decades: what the height of a bar stands for.
    """
    shades = BARS if terminal.is_unicode(console) else PLAIN_BARS
    width = min(width, len(sizes))
    parts = [sizes[at * len(sizes) // width : (at + 1) * len(sizes) // width] for at in range(width)]
    largest = [max(part) for part in parts]
    top = max((size for size in largest if math.isfinite(size)), default=0.0)

    def bar(size: float) -> str:
        if not math.isfinite(size):
            return shades[-1]
        if size == 0.0:
            return shades[0]
        share = 1.0 + (math.log10(size) - math.log10(top)) / decades
        return shades[round(max(0.0, share) * (len(shades) - 1))]

    return "".join(map(bar, largest))


def curves(lines: Mapping[str, Sequence[float]], console: Console, height: int = 10, width: int = 60) -> Text:
    """Curves over steps in one frame, each with a mark of its own; what is not finite is left out.

    Args:
        lines: at most four, each a number for each step.
        console: tells which characters there are.
        height: in lines.
        width: in characters; steps are spread over it.
    """
    marks = MARKS if terminal.is_unicode(console) else PLAIN_MARKS
    numbers = [number for line in lines.values() for number in line if math.isfinite(number)]
    low, high = (min(numbers), max(numbers)) if numbers else (0.0, 1.0)
    room = (high - low) or 1.0
    steps = max(map(len, lines.values()), default=1)
    grid: list[list[tuple[str, str]]] = [[(" ", "")] * width for _ in range(height)]
    for mark, colour, line in zip(marks, COLOURS, lines.values(), strict=False):
        for step, number in enumerate(line):
            if math.isfinite(number):
                column = round(step / max(steps - 1, 1) * (width - 1))
                grid[round((high - number) / room * (height - 1))][column] = (mark, colour)
    text = Text(no_wrap=True)
    wall, corner, floor = ("│", "└", "─") if terminal.is_unicode(console) else ("|", "+", "-")
    for at, row in enumerate(grid):
        label = f"{high - room * at / (height - 1):.3f}" if at in (0, height - 1) else ""
        text.append(f"{label:>8} {wall}", style="dim")
        for character, colour in row:
            text.append(character, style=colour)
        text.append("\n")
    text.append(f"{'':>8} {corner}{floor * width}\n", style="dim")
    text.append(f"{'':>9} step 1{str(steps).rjust(width - len('step 1'))}\n", style="dim")
    for mark, colour, name in zip(marks, COLOURS, lines, strict=False):
        text.append(f"{'':>9} {mark} ", style=colour).append(f"{name}   ")
    return text
