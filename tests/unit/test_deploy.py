"""The manifests and the image: valid, locked down, and in step with the server."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from gradserve.v1 import gradient_service_pb2
from gradserve_server.common.config import Settings
from tests.unit import kustomize

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
FOLDERS = [DEPLOY / "kustomize/base", DEPLOY / "kustomize/overlays/cpu"]
UNITS = {"Mi": 1 << 20, "Gi": 1 << 30}

every_folder = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def find(folder: Path, kind: str) -> dict[str, Any]:
    (manifest,) = [one for one in kustomize.render(folder) if one["kind"] == kind]
    return manifest


def pod_of(folder: Path) -> dict[str, Any]:
    return find(folder, "Deployment")["spec"]["template"]["spec"]


def container_of(folder: Path) -> dict[str, Any]:
    (container,) = pod_of(folder)["containers"]
    return container


def settings_of(folder: Path) -> Settings:
    data = find(folder, "ConfigMap")["data"]
    return Settings(**{key.removeprefix("GRADSERVE_").lower(): value for key, value in data.items()})


@every_folder
def test_every_manifest_is_valid_for_the_newest_kubernetes(folder: Path) -> None:
    version = kubernetes_validate.latest_version()
    for manifest in kustomize.render(folder):
        kubernetes_validate.validate(manifest, version, strict=True)


@every_folder
@pytest.mark.skipif(not shutil.which("kubectl"), reason="no kubectl to compare with")
def test_kubectl_renders_the_same(folder: Path) -> None:
    rendered = subprocess.run(["kubectl", "kustomize", folder], check=True, capture_output=True, text=True).stdout
    by_name = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(rendered)}
    ours = {(one["kind"], one["metadata"]["name"]): one for one in kustomize.render(folder)}
    assert ours == by_name


@every_folder
def test_every_variable_is_a_setting_and_its_value_is_taken(folder: Path) -> None:
    data = find(folder, "ConfigMap")["data"]
    known = {f"GRADSERVE_{name.upper()}" for name in Settings.model_fields}
    assert data.keys() <= known
    settings_of(folder)


def test_every_variable_of_the_image_is_a_setting() -> None:
    variables = re.findall(r"(GRADSERVE_\w+)=", (DEPLOY / "Dockerfile").read_text())
    assert variables
    assert {one.removeprefix("GRADSERVE_").lower() for one in variables} <= Settings.model_fields.keys()


@every_folder
def test_ports_are_those_that_the_server_listens_at(folder: Path) -> None:
    settings = settings_of(folder)
    ports = {one["name"]: one["containerPort"] for one in container_of(folder)["ports"]}
    listening = {"grpc": settings.address, "metrics": settings.metrics_address}
    assert ports == {name: int(address.rpartition(":")[2]) for name, address in listening.items()}
    service = find(folder, "Service")["spec"]
    assert {one["targetPort"]: one["port"] for one in service["ports"]} == ports
    exposed = re.findall(r"^EXPOSE (.*)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert exposed == [" ".join(str(port) for port in ports.values())]


@every_folder
def test_probes_ask_services_that_exist(folder: Path) -> None:
    container = container_of(folder)
    services = gradient_service_pb2.DESCRIPTOR.services_by_name
    known = {"", *(one.full_name for one in services.values())}
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = container[kind]["grpc"]
        assert probe["service"] in known
        assert probe["port"] == 50051
    assert container["readinessProbe"]["grpc"]["service"] == "gradserve.v1.GradientService"
    assert container["livenessProbe"]["grpc"]["service"] == ""


@every_folder
def test_a_stop_has_time_to_drain(folder: Path) -> None:
    pod = pod_of(folder)
    pause = container_of(folder)["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain = settings_of(folder).drain_seconds
    assert pod["terminationGracePeriodSeconds"] >= pause + drain + 10


@every_folder
def test_the_pod_meets_the_restricted_standard(folder: Path) -> None:
    # https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
    pod, container = pod_of(folder), container_of(folder)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {"hostNetwork", "hostPID", "hostIPC"}.isdisjoint(pod)
    # And beyond it.
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["automountServiceAccountToken"] is False
    assert find(folder, "ServiceAccount")["automountServiceAccountToken"] is False


@every_folder
def test_resources_leave_room_for_the_smallest_budget(folder: Path) -> None:
    resources = container_of(folder)["resources"]
    assert {"cpu", "memory"} <= resources["requests"].keys()
    limit = resources["limits"]["memory"]
    smallest = next(one.ge for one in Settings.model_fields["memory_budget"].metadata)
    assert int(limit[:-2]) * UNITS[limit[-2:]] // 2 >= smallest


def test_image_and_deployment_agree_on_version_and_user() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert container_of(FOLDERS[0])["image"] == f"gradserve:{version}"
    (user,) = re.findall(r"^USER (\d+):\d+$", dockerfile, re.MULTILINE)
    assert int(user) == pod_of(FOLDERS[0])["securityContext"]["runAsUser"]


def test_what_the_image_copies_exists_and_is_let_through() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    copies = re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile, re.MULTILINE)
    sources = {source for copy in copies for source in copy.split()}
    assert sources
    assert all((ROOT / source).exists() for source in sources)
    assert {f"!{source}" for source in sources} <= set(ignored)


def test_the_reader_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: []\nnamePrefix: other-\n"
    )
    with pytest.raises(ValueError, match="namePrefix"):
        kustomize.render(tmp_path)
