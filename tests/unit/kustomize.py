"""What `kubectl kustomize` does, as far as deploy/ needs it; anything further is refused.

Known are `resources` (files and other kustomizations) and strategic merge `patches` by `path`. A test compares the
result with that of a real kustomize wherever there is one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]

_HEADER = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
# Lists that are merged by a key, by the field that holds them; all others are replaced.
_MERGE_KEYS = {
    "containers": "name",
    "env": "name",
    "topologySpreadConstraints": "topologyKey",
    "volumeMounts": "mountPath",
    "volumes": "name",
}


def render(folder: Path) -> list[Manifest]:
    """The manifests of the kustomization in `folder`, patches applied."""
    (kustomization,) = _read(folder / "kustomization.yaml")
    if {key: kustomization.pop(key) for key in _HEADER} != _HEADER:
        raise ValueError(f"{folder}: not a kustomization")
    resources = kustomization.pop("resources")
    patches = kustomization.pop("patches", [])
    if kustomization:
        raise ValueError(f"{folder}: this reader does not know {sorted(kustomization)}")
    manifests: list[Manifest] = []
    for resource in resources:
        path = folder / resource
        manifests += render(path) if path.is_dir() else _read(path)
    for patch in patches:
        if patch.keys() != {"path"}:
            raise ValueError(f"{folder}: this reader knows patches by path alone, not {patch}")
        for change in _read(folder / patch["path"]):
            (target,) = [one for one in manifests if _identity(one) == _identity(change)]
            manifests[manifests.index(target)] = _merge(target, change)
    return manifests


def _read(path: Path) -> list[Manifest]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


def _identity(manifest: Manifest) -> tuple[str, str, str]:
    return manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"]


def _merge(value: Any, change: Any, field: str = "") -> Any:
    if isinstance(value, dict) and isinstance(change, dict):
        if any(str(key).startswith("$") or one is None for key, one in change.items()):
            raise ValueError(f"{field}: this reader does not know directives and deletions")
        changed = {key: _merge(value.get(key), one, key) for key, one in change.items()}
        return value | changed
    if isinstance(value, list) and isinstance(change, list):
        if field not in _MERGE_KEYS:
            raise ValueError(f"{field}: this reader does not know how to merge it")
        key = _MERGE_KEYS[field]
        changes = {one[key]: one for one in change}
        merged = [_merge(one, changes.pop(one[key], {})) for one in value]
        return merged + list(changes.values())
    return change
