"""What the flat list of a trace says of the graph: who uses what, how deep it lies, and which blocks hold it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gradserve.traces import TracedValue

Kind = Literal["network", "block", "layers", "layer"]


@dataclass(frozen=True, slots=True)
class Group:
    """A part of the graph with a name of its own.

    Attributes:
        path: its name; empty for the whole network.
        kind: the network, a block, a repeated block (whose groups are its layers), or one of its layers.
        members: indices of values, and groups, in forward order.
        result: index of the value of the same name, which is what the block gives; None if it has none of its own.
    """

    path: str
    kind: Kind
    members: tuple[int | Group, ...]
    result: int | None = None


@dataclass(frozen=True, slots=True)
class Structure:
    """The graph behind a trace; values are known by their index in it.

    Attributes:
        inputs: for each value, what it was computed from, as far as that was traced. What a block gives is the value of
            its last node: that stands here in its place.
        depths: for each value, the most operations between it and an input; a parameter lies where it is first used.
        network: all values in their groups.
    """

    inputs: tuple[tuple[int, ...], ...]
    depths: tuple[int, ...]
    network: Group


def structure(values: Sequence[TracedValue]) -> Structure:
    """Reads the graph off the names and inputs of values in forward order."""
    paths = _paths_of_groups(values)
    inputs, results = _inputs(values, paths)
    return Structure(inputs, _depths(values, inputs), _grouped(values, paths, results))


def label(name: str, group: Group) -> str:
    """What tells a value or group from the others in `group`."""
    return name.removeprefix(f"{group.path}/") if group.path else name


def values_of(group: Group) -> Iterator[int]:
    """All values in a group and its groups, in forward order; without the results of blocks."""
    for member in group.members:
        if isinstance(member, int):
            yield member
        else:
            yield from values_of(member)


def _inputs(values: Sequence[TracedValue], paths: set[str]) -> tuple[tuple[tuple[int, ...], ...], dict[str, int]]:
    """The inputs of each value, and the values that are the results of blocks, by name."""
    at = {value.name: index for index, value in enumerate(values)}
    inputs: list[tuple[int, ...]] = []
    results: dict[str, int] = {}
    stands_for: dict[int, int] = {}
    for index, value in enumerate(values):
        # What comes later cannot have gone in, whatever a list says: depths rely on that.
        used = (at[name] for name in value.inputs if at.get(name, index) < index)
        inputs.append(tuple(dict.fromkeys(stands_for.get(one, one) for one in used)))
        inside = [one for one in inputs[-1] if values[one].name.startswith(f"{value.name}/")]
        if value.name in paths and len(inside) == len(inputs[-1]) == 1:
            results[value.name] = index
            stands_for[index] = inside[0]
            inputs[-1] = ()
    return tuple(inputs), results


def _depths(values: Sequence[TracedValue], inputs: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    depths = [0] * len(values)
    for index, used in enumerate(inputs):
        depths[index] = max((depths[one] + 1 for one in used if values[one].operation != "parameter"), default=0)
    first_use: dict[int, int] = {}
    for index in reversed(range(len(values))):
        if values[index].operation == "parameter":
            depths[index] = first_use.get(index, 0)
        for one in inputs[index]:
            first_use[one] = min(first_use.get(one, depths[index]), depths[index])
    return tuple(depths)


def _grouped(values: Sequence[TracedValue], paths: set[str], results: Mapping[str, int]) -> Group:
    members: dict[str, list[int | str]] = {"": []}
    for index, value in enumerate(values):
        if results.get(value.name) == index:
            continue
        home = _home(value.name, paths)
        _open(home, paths, members)
        members[home].append(index)
    return _close("", "network", members, results)


def _paths_of_groups(values: Sequence[TracedValue]) -> set[str]:
    """Prefixes that hold operations; "dense/kernel" alone makes no group of the operation "dense"."""
    operations = {value.name: value.operation for value in values}
    paths: set[str] = set()
    for value in values:
        if value.operation == "parameter":
            continue
        path = value.name.rpartition("/")[0]
        while path and path not in paths:
            # Further outputs of one operation ("top_k/indices") make no group of it either.
            if operations.get(path, "block") == "block":
                paths.add(path)
            path = path.rpartition("/")[0]
    return paths


def _home(name: str, paths: set[str]) -> str:
    path = name.rpartition("/")[0]
    while path and path not in paths:
        path = path.rpartition("/")[0]
    return path


def _open(path: str, paths: set[str], members: dict[str, list[int | str]]) -> None:
    """Makes a list for a group and for those around it, and puts each into the one around it."""
    if path not in members:
        outer = _home(path, paths)
        _open(outer, paths, members)
        members[outer].append(path)
        members[path] = []


def _close(path: str, kind: Kind, members: dict[str, list[int | str]], results: Mapping[str, int]) -> Group:
    inside: list[int | Group] = []
    for one in members[path]:
        if isinstance(one, int):
            inside.append(one)
        else:
            inside.append(_close(one, _kind(one, members), members, results))
    return Group(path, kind, tuple(inside), results.get(path))


def _kind(path: str, members: dict[str, list[int | str]]) -> Kind:
    if path.rpartition("/")[2].isdigit():
        return "layer"
    groups = [one for one in members[path] if isinstance(one, str)]
    return "layers" if groups and all(one.rpartition("/")[2].isdigit() for one in groups) else "block"
