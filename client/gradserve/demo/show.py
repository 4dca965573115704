"""The demo from its first line to its last."""

from __future__ import annotations

import statistics
from pathlib import Path

from rich.table import Table
from rich.text import Text

import gradserve as gs
from gradserve.cli import terminal
from gradserve.demo import chain_rule, digits, flow, networks, training
from gradserve.demo.outcome import Outcome
from gradserve.demo.screen import Screen, picture
from gradserve.demo.training import Step

ENOUGH = 0.95


def demonstrate(screen: Screen, client: gs.Client, part: int | None, folder: Path) -> bool:
    """Runs one part, or all; plots and pages go to `folder`. False if anything did not come out as it should."""
    info = client.server_info()
    screen.show(
        f"[bold]gradserve {gs.__version__}[/]",
        "A network, weights and a batch in; the loss and its gradients out.",
        f"A server computes on {info.platform}; this process holds no deep learning framework.",
    )
    outcomes = []
    if part in (None, 1):
        outcomes.append(chain_rule.compare(screen, client))
    if part in (None, 2):
        outcomes += train_all(screen, client)
    if part in (None, 3):
        outcomes += flow.explain(screen, client, folder)
    _closing(screen, outcomes)
    return all(outcome.holds for outcome in outcomes)


def train_all(screen: Screen, client: gs.Client) -> list[Outcome]:
    """Part 2: two networks that learn to read digits."""
    train, test = digits.split(digits.load())
    screen.heading("2  Networks that learn from served gradients")
    screen.show(
        f"Handwritten digits, 8x8 pixels: {len(train):,} to learn from, {len(test)} to test with.",
        "Forward and backward run on the server, W -= learning_rate * dL/dW here.",
        "",
        Text(picture(test.images[:4], screen.console), style="cyan", no_wrap=True),
    )
    return [
        _lesson(screen, client, lesson, train, test) for lesson in (networks.perceptron(), networks.convolutional())
    ]


def _lesson(
    screen: Screen,
    client: gs.Client,
    lesson: networks.Lesson,
    train: digits.Digits,
    test: digits.Digits,
) -> Outcome:
    screen.show("")
    weights = client.initialize(lesson.network, seed=0)
    seconds: list[float] = []
    with screen.bar(lesson.title, lesson.schedule.steps(len(train))) as bar:

        def on_step(step: Step) -> None:
            seconds.append(step.seconds)
            bar.step(step)

        weights = training.train(
            client,
            lesson.network,
            weights,
            train.images,
            train.labels,
            lesson.schedule,
            on_step,
        )
    part = training.accuracy(client, lesson.network, weights, test.images, test.labels)
    enough = part >= ENOUGH
    count = sum(array.size for array in weights.values())
    screen.show(
        f"[bold]test accuracy: {100 * part:.1f} %[/]  {terminal.tick(enough, screen.console)}",
        f"{terminal.count(count, 'parameter')}, batches of {lesson.schedule.batch_size}; one "
        f"gradient call takes {terminal.seconds(statistics.median(seconds))} (median)",
    )
    return Outcome(enough, f"{lesson.title} reads {100 * part:.1f} % of unseen digits")


def _closing(screen: Screen, outcomes: list[Outcome]) -> None:
    commands = Table.grid(padding=(0, 2))
    commands.add_row("gradserve serve --address 127.0.0.1:50051", "run a server")
    commands.add_row("gradserve describe --help", "what a network takes and costs")
    commands.add_row("gradserve grad --help", "gradients from files, from the shell")
    commands.add_row("gradserve trace --help", "every gradient explained, as table, plot and page")
    screen.heading("What you saw, and what next")
    for outcome in outcomes:
        screen.show(f"{terminal.tick(outcome.holds, screen.console)} {outcome.said}")
    screen.show("", commands)
