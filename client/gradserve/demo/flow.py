"""Part 3: three networks of a hundred layers, their traces side by side, and what the verdict means for training."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

import gradserve as gs
from gradserve.cli.trace_table import COLOURS
from gradserve.demo import deep, digits, memory, training
from gradserve.demo.chart import bars, curves
from gradserve.demo.deep import Deep
from gradserve.demo.digits import Digits
from gradserve.demo.outcome import Outcome
from gradserve.demo.screen import Bar, Screen
from gradserve.trace_view.flow import VERDICTS

SEED = 0
BARS = 24
CHANCE = math.log(10)  # The loss of who knows nothing of ten digits.
LAST = 5  # Steps over which the loss at the end is taken.


def explain(screen: Screen, client: gs.Client, folder: Path) -> list[Outcome]:
    """Traces, shows the verdicts, writes a plot and a page for each network, trains two of them, and weighs one."""
    train, _ = digits.split(digits.load())
    screen.heading("3  Why a network of a hundred layers learns, or does not")
    screen.show(
        f"The same digits, {deep.LAYERS} layers of {deep.WIDTH}; only what a layer computes differs.",
        "A trace gives every value and gradient of one batch, and judges how gradients flow.",
        "",
    )
    folder.mkdir(parents=True, exist_ok=True)
    networks = (deep.sigmoid(), deep.badly_scaled(), deep.residual())
    traces = [_trace(screen, client, one, train, folder) for one in networks]
    screen.show(_side_by_side(networks, traces, screen), "The plot of each, and a page to explore in a browser:")
    for one in networks:
        screen.show(Text(f"  {folder / one.file}.png  {folder / one.file}.html"))
    outcomes = [
        Outcome(
            trace.flow.verdict == one.expected,
            f"{one.title}: {VERDICTS[trace.flow.verdict].lower()} over {deep.LAYERS} layers",
        )
        for one, trace in zip(networks, traces, strict=True)
    ]
    outcomes.append(_train(screen, client, networks[0], networks[-1], train))
    return [*outcomes, *memory.weigh(screen, client, train)]


def _trace(screen: Screen, client: gs.Client, one: Deep, train: Digits, folder: Path) -> gs.TraceResult:
    screen.say(f"Tracing {one.title.lower()}")
    batch = {"x": train.images[:32], "y": train.labels[:32]}
    trace = client.trace(one.network, gs.seeded(SEED), batch, loss=gs.softmax_cross_entropy(target="y"))
    title = f"{one.title}, {deep.LAYERS} layers"
    gs.save_trace_page(trace, folder / f"{one.file}.html", title)
    gs.save_trace_plot(trace, folder / f"{one.file}.png", title)
    return trace


def _side_by_side(networks: Sequence[Deep], traces: Sequence[gs.TraceResult], screen: Screen) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for one in networks:
        table.add_column(Text(one.title), overflow="fold", ratio=1)
    pairs = list(zip(networks, traces, strict=True))
    sizes = [deep.sizes_by_layer(trace) for trace in traces]

    def row(title: str, make: Callable[[Deep, gs.TraceResult], str | Text]) -> None:
        table.add_row(title, *(make(one, trace) for one, trace in pairs))

    row("one layer", lambda one, _: Text(one.layer))
    row("verdict", lambda _, trace: _verdict(trace.flow.verdict))
    row("from layer to layer", lambda _, trace: f"x {trace.flow.factor_per_layer:.3g}, backward")
    table.add_row("gradient, layer 1", *(f"{some[0]:.2g}" for some in sizes))
    table.add_row(f"gradient, layer {deep.LAYERS}", *(f"{some[-1]:.2g}" for some in sizes))
    shown = (Text(bars(some, BARS, screen.console), style="yellow", no_wrap=True) for some in sizes)
    table.add_row("over depth", *shown, end_section=True)
    row("breaks down at", lambda _, trace: Text(trace.flow.places[0] if trace.flow.places else "-"))
    row("what to try", lambda _, trace: Text("\n".join(trace.flow.advice) or "-"))
    return table


def _verdict(verdict: str) -> Text:
    return Text(VERDICTS[verdict], style=f"bold {COLOURS.get(verdict, 'default')}")


def _train(screen: Screen, client: gs.Client, stuck: Deep, learns: Deep, train: Digits) -> Outcome:
    """The loss over a few steps of the network that vanishes and of the one that does not."""
    images, labels = deep.some(train)
    losses: dict[str, list[float]] = {}
    for one in (stuck, learns):
        line = losses[one.title] = []
        weights = client.initialize(one.network, seed=SEED)
        with screen.bar(one.title, deep.STEPS) as bar:

            def on_step(step: training.Step, line: list[float] = line, bar: Bar = bar) -> None:
                line.append(step.loss)
                bar.step(step)

            training.train(client, one.network, weights, images, labels, deep.schedule(), on_step)
    screen.show("", "[bold]Loss over the steps of training[/]", "", curves(losses, screen.console))
    return judge_training(losses, stuck.title, learns.title)


def judge_training(losses: Mapping[str, Sequence[float]], stuck: str, learns: str) -> Outcome:
    """Whether the last losses are those of a network that learns, and of one that knows nothing."""
    at_the_end = {title: statistics.mean(line[-LAST:]) for title, line in losses.items()}
    holds = at_the_end[learns] < 0.7 * CHANCE < 0.95 * CHANCE < at_the_end[stuck]
    said = f"after {deep.STEPS} steps: loss {at_the_end[stuck]:.2f} where gradients vanish, "
    return Outcome(holds, f"{said}{at_the_end[learns]:.2f} where they flow, {CHANCE:.2f} by chance")
