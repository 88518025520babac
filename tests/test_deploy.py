"""The manifests under deploy/ and compose.yaml: valid, confined, and about settings and commands that there are."""

import re
from itertools import chain
from pathlib import Path
from typing import Any

import kubernetes_validate
import psycopg
import pytest
import yaml

from service import cli
from service.settings import Settings, variable

ROOT = Path(__file__).parents[1]
BASE = ROOT / "deploy" / "base"
SCALED = ROOT / "deploy" / "queue-scaled"
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())

FILES = sorted(path for path in (ROOT / "deploy").rglob("*.yaml") if path.name != "kustomization.yaml")
MANIFESTS: dict[str, dict[str, Any]] = {
    f"{path.parent.name}/{path.stem}-{number}": manifest
    for path in FILES
    for number, manifest in enumerate(yaml.safe_load_all(path.read_text()))
}
#: Of KEDA, whose schema is its own.
FOREIGN = {name for name, manifest in MANIFESTS.items() if manifest["apiVersion"].startswith("keda.sh/")}
PODS = {
    manifest["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]: manifest["spec"]["template"]
    for manifest in MANIFESTS.values()
    if manifest["kind"] in ("Deployment", "Job")
}
GRACE = float(re.findall(r"^PLUMBLINE_GRACE_SECONDS=(\d+)$", (BASE / "settings.env").read_text(), re.MULTILINE)[0])
GRACE_COMPOSED = float(COMPOSE["services"]["worker"]["environment"]["PLUMBLINE_GRACE_SECONDS"])
#: What `serve` takes beyond that to put its things away.
PUTTING_AWAY = 5


def _named(kind: str, name: str) -> dict[str, Any]:
    return next(m for m in MANIFESTS.values() if (m["kind"], m["metadata"]["name"]) == (kind, name))


def _container(component: str) -> dict[str, Any]:
    (container,) = PODS[component]["spec"]["containers"]
    return dict(container)


@pytest.mark.parametrize("release", ["1.29", "1.33", "1.37"])
@pytest.mark.parametrize("name", sorted(set(MANIFESTS) - FOREIGN))
def test_kubernetes_knows_every_field(name: str, release: str) -> None:
    kubernetes_validate.validate(MANIFESTS[name], release, strict=True)


@pytest.mark.parametrize("folder", [BASE, SCALED])
def test_every_manifest_is_in_its_kustomization(folder: Path) -> None:
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    there = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml", "secret.example.yaml"}
    assert {name for name in kustomization["resources"] if name != "../base"} == there
    assert (kustomization["apiVersion"], kustomization["kind"]) == ("kustomize.config.k8s.io/v1beta1", "Kustomization")


def _variables() -> set[str]:
    files = (*FILES, BASE / "settings.env", ROOT / "compose.yaml", ROOT / "Dockerfile", *(ROOT / "docs").glob("*.md"))
    found = chain.from_iterable(re.findall(r"\bPLUMBLINE_[A-Z_]+", path.read_text()) for path in files)
    return set(found) - {"PLUMBLINE_DATABASE_PASSWORD"}  # compose.yaml's own


def test_every_variable_is_a_setting() -> None:
    named = _variables()
    assert {"PLUMBLINE_DATABASE_URL", "PLUMBLINE_DATASET_STORE"} <= named
    assert named <= {variable(field) for field in Settings.model_fields}


def _commands() -> list[list[str]]:
    probes = [probe["exec"]["command"] for probe in _probes() if "exec" in probe]
    checks = [
        service["healthcheck"]["test"][1:] for service in COMPOSE["services"].values() if "healthcheck" in service
    ]
    ours = [command[1:] for command in (*probes, *checks) if command[0] == "plumbline"]
    composed = [service["command"] for service in COMPOSE["services"].values() if "command" in service]
    return [*ours, *composed, *(_container(component)["args"] for component in PODS)]


def _probes() -> list[dict[str, Any]]:
    kinds = ("startupProbe", "livenessProbe", "readinessProbe")
    return [_container(component)[kind] for component in PODS for kind in kinds if kind in _container(component)]


@pytest.mark.parametrize("command", _commands(), ids=" ".join)
def test_every_command_is_one_of_ours(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    # With --help a command is read to its end, and not run.
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "--help"])
    assert ended.value.code == 0
    assert f"usage: plumbline {command[0]}" in capsys.readouterr().out


def test_probes_ask_for_what_the_api_answers() -> None:
    contract = (ROOT / "openapi" / "openapi.json").read_text()
    paths = {probe["httpGet"]["path"] for probe in _probes() if "httpGet" in probe}
    assert paths == {"/health/live", "/health/ready"}
    assert all(f'"{path}"' in contract for path in paths)


@pytest.mark.parametrize("component", sorted(PODS))
def test_a_pod_may_do_nothing_but_its_work(component: str) -> None:
    pod, container = PODS[component]["spec"], _container(component)
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert "memory" in container["resources"]["limits"]
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounted["tmp"] == "/tmp"
    assert {volume["name"] for volume in pod["volumes"]} == set(mounted)


@pytest.mark.parametrize("component", ["api", "worker"])
def test_a_pod_is_not_killed_before_its_grace_is_over(component: str) -> None:
    seconds = PODS[component]["spec"]["terminationGracePeriodSeconds"]
    pause = _container(component).get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])
    assert seconds > GRACE + PUTTING_AWAY + float(pause[-1])


def test_a_composed_process_is_not_killed_before_its_grace_is_over() -> None:
    worker = COMPOSE["services"]["worker"]
    assert int(worker["stop_grace_period"].removesuffix("s")) > GRACE_COMPOSED + PUTTING_AWAY
    assert "container_name" not in worker, "such a one cannot be scaled"
    assert "ports" not in worker


def test_the_volume_of_datasets_belongs_to_the_user_of_the_image() -> None:
    (mount,) = COMPOSE["services"]["worker"]["volumes"]
    name, _, folder = mount.partition(":")
    assert name in COMPOSE["volumes"]
    assert re.search(rf"install -d -o 10001 [^&]*{folder}\b", (ROOT / "Dockerfile").read_text())


def test_the_secret_is_an_example() -> None:
    secret = _named("Secret", "plumbline")
    assert all(re.search(r"PASSWORD|KEY|SECRET|REGION|example", value) for value in secret["stringData"].values())
    assert {ref["secretRef"]["name"] for ref in _container("worker")["envFrom"] if "secretRef" in ref} == {"plumbline"}


def test_disruptions_leave_an_api_and_most_workers() -> None:
    for component in ("api", "worker"):
        selector = _named("PodDisruptionBudget", f"plumbline-{component}")["spec"]["selector"]["matchLabels"]
        assert selector.items() <= PODS[component]["metadata"]["labels"].items()
    assert _named("HorizontalPodAutoscaler", "plumbline-api")["spec"]["minReplicas"] >= 2


def test_the_queue_scales_the_workers(database_url: str) -> None:
    """Shape: https://keda.sh/docs/latest/scalers/postgresql and /docs/latest/reference/scaledobject-spec."""
    scaled = _named("ScaledObject", "plumbline-worker")["spec"]
    assert scaled["scaleTargetRef"] == {"name": _named("Deployment", "plumbline-worker")["metadata"]["name"]}
    assert 1 <= scaled["minReplicaCount"] < scaled["maxReplicaCount"]
    (trigger,) = scaled["triggers"]
    assert trigger["type"] == "postgresql"
    assert trigger["metadata"].keys() == {"query", "targetQueryValue"}
    assert all(isinstance(value, str) for value in trigger["metadata"].values())
    authentication = _named("TriggerAuthentication", trigger["authenticationRef"]["name"])["spec"]
    assert authentication["secretTargetRef"][0]["key"] in _named("Secret", "plumbline")["stringData"]
    with psycopg.connect(database_url) as connection:
        assert connection.execute(trigger["metadata"]["query"]).fetchone() == (0,)
