"""The chart, rendered by Helm where it is on PATH, and held against the schemas of Kubernetes."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest
import yaml

from tests.support.deployment import (
    PORT,
    ROOT,
    assert_settings,
    documented_metrics,
    documented_routes,
    metrics_in,
    tool,
)
from tests.support.dockerfile import chain, read_stages
from turbov2.settings import SETTINGS, load_settings

CHART = ROOT / "deploy" / "helm" / "turbov2"
NAME = "retrieval-turbov2"
ALL = (
    "gpus=1",
    "autoscaling.enabled=true",
    "serviceMonitor.enabled=true",
    "storage.className=fast",
    "settings.TURBOV2_KEEP_ALIVE=30m",
    "settings.TURBOV2_MAX_QUEUE=2000000",
    "settings.TURBOV2_CONSOLE=false",
    "settings.REMOTE_OPENAI_URL=https://models.example/v1",
    "secrets.EMBEDDINGS_API_KEY.name=keys",
    "secrets.EMBEDDINGS_API_KEY.key=retrieval",
    "image.pullSecrets[0].name=registry",
    "networkPolicy.to[0].ports[0].port=8000",
)
Objects = dict[tuple[str, str], dict[str, Any]]


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([tool("helm"), *arguments], capture_output=True, text=True, timeout=60)


def render(*changes: str) -> Objects:
    """Returns the objects by kind and name."""
    sets = [word for change in changes for word in ("--set", change)]
    done = helm("template", "retrieval", str(CHART), "--namespace", "search", *sets)
    assert done.returncode == 0, done.stderr
    found = [thing for thing in yaml.safe_load_all(done.stdout) if thing]
    return {(thing["kind"], thing["metadata"]["name"]): thing for thing in found}


def pod(objects: Objects) -> dict[str, Any]:
    found: dict[str, Any] = objects["StatefulSet", NAME]["spec"]["template"]["spec"]
    return found


def server(objects: Objects) -> dict[str, Any]:
    (found,) = pod(objects)["containers"]
    return dict(found)


def texts() -> str:
    return "\n".join(path.read_text("utf-8") for path in sorted(CHART.rglob("*.yaml")))


def test_its_metrics_routes_and_settings_are_those_of_the_server() -> None:
    adapter = (CHART.parent / "prometheus-adapter.yaml").read_text("utf-8")
    metrics = metrics_in(texts() + adapter)
    assert metrics == {"turbov2_queue_items"}
    assert metrics <= documented_metrics()
    paths = set(re.findall(r"path: (/\w+)", texts()))
    assert paths == {"/livez", "/readyz", "/metrics"}
    assert paths <= documented_routes()
    assert_settings(set(re.findall(r"\b(?:TURBOV2|EMBEDDINGS|HF)_[A-Z_]+\b", texts())) - {"TURBOV2_PORT"})


def test_its_version_is_the_servers() -> None:
    import turbov2

    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert chart["appVersion"] == chart["version"] == turbov2.__version__


def test_helm_finds_nothing_wrong_with_it() -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_runs_as_the_images_user_with_a_read_only_root() -> None:
    objects = render()
    stages = chain(read_stages(ROOT / "Dockerfile"))
    (user,) = [line.text for stage in stages for line in stage.all("USER")]
    context = pod(objects)["securityContext"]
    assert f"{context['runAsUser']}:{context['runAsGroup']}" == user
    assert context["fsGroup"] == context["runAsGroup"]
    assert context["runAsNonRoot"] is True
    assert server(objects)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    folder = [line.text for stage in stages for line in stage.all("WORKDIR")][-1]
    mounts = {mount["mountPath"] for mount in server(objects)["volumeMounts"]}
    assert mounts == {folder, "/tmp"}
    assert pod(objects)["automountServiceAccountToken"] is False


def test_no_variable_of_a_service_is_taken_for_a_setting() -> None:
    assert pod(render())["enableServiceLinks"] is False


def test_probes_ask_what_is_open_and_a_stop_waits() -> None:
    objects = render()
    asked = {
        name: server(objects)[f"{name}Probe"]["httpGet"]["path"]
        for name in ("startup", "readiness", "liveness")
    }
    assert asked == {"startup": "/readyz", "readiness": "/readyz", "liveness": "/livez"}
    assert set(asked.values()) <= set(load_settings({}).open_paths)
    assert server(objects)["ports"] == [{"name": "http", "containerPort": PORT}]
    assert pod(objects)["terminationGracePeriodSeconds"] > load_settings({}).drain_s


def test_each_replica_keeps_a_folder_and_clients_come_back_to_theirs() -> None:
    objects = render("replicas=3")
    spec = objects["StatefulSet", NAME]["spec"]
    assert spec["replicas"] == 3
    assert [claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]] == ["home"]
    assert objects["Service", NAME]["spec"]["sessionAffinity"] == "ClientIP"
    assert ("Service", spec["serviceName"]) in objects
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"].items() <= labels.items()
    assert objects["Service", NAME]["spec"]["selector"].items() <= labels.items()


def test_settings_and_secrets_reach_the_server_as_written() -> None:
    env = {entry["name"]: entry for entry in server(render(*ALL))["env"]}
    assert_settings(env)
    assert env["TURBOV2_KEEP_ALIVE"]["value"] == "30m"
    assert env["TURBOV2_MAX_QUEUE"]["value"] == "2000000"
    assert env["TURBOV2_CONSOLE"]["value"] == "false"
    from_secret = env["EMBEDDINGS_API_KEY"]["valueFrom"]["secretKeyRef"]
    assert from_secret == {"name": "keys", "key": "retrieval"}


def test_large_numbers_of_a_values_file_stay_numbers(tmp_path: Any) -> None:
    values = tmp_path / "values.yaml"
    values.write_text("settings: {TURBOV2_MAX_QUEUE: 20000000}\n", "utf-8")
    done = helm("template", "retrieval", str(CHART), "--values", str(values))
    assert '{name: TURBOV2_MAX_QUEUE, value: "20000000"}' in done.stdout


def test_a_gpu_is_a_limit_beside_the_others() -> None:
    limits = server(render("gpus=2"))["resources"]["limits"]
    assert limits == {"memory": "8Gi", "nvidia.com/gpu": 2}
    assert "nvidia.com/gpu" not in server(render())["resources"]["limits"]


def test_what_waits_decides_how_many_replicas_there_are() -> None:
    objects = render(*ALL)
    scaler = objects["HorizontalPodAutoscaler", NAME]["spec"]
    assert "replicas" not in objects["StatefulSet", NAME]["spec"]  # else each upgrade would set them back
    target = scaler["scaleTargetRef"]
    assert (target["kind"], target["name"]) in objects
    (metric,) = scaler["metrics"]
    assert metric["pods"] == {
        "metric": {"name": "turbov2_queue_items"},
        "target": {"type": "AverageValue", "averageValue": "200"},
    }
    assert not [kind for kind, _ in render() if kind == "HorizontalPodAutoscaler"]


def test_one_replica_at_a_time_may_go() -> None:
    assert render()["PodDisruptionBudget", NAME]["spec"]["maxUnavailable"] == 1


def test_only_the_namespace_reaches_it_and_it_reaches_only_what_it_pulls_from() -> None:
    spec = render()["NetworkPolicy", NAME]["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"] == [
        {"from": [{"podSelector": {}}], "ports": [{"port": "http", "protocol": "TCP"}]},
    ]
    ports = {port["port"] for rule in spec["egress"] for port in rule["ports"]}
    assert ports == {53, 443}
    assert render("networkPolicy.allowPulls=false")["NetworkPolicy", NAME]["spec"]["egress"] == []
    egress = render("networkPolicy.to[0].ports[0].port=8000")["NetworkPolicy", NAME]["spec"]["egress"]
    assert {port["port"] for rule in egress for port in rule["ports"]} == {53, 443, 8000}


def test_the_operator_scrapes_each_replica_once_with_the_key() -> None:
    objects = render(*ALL)
    spec = objects["ServiceMonitor", NAME]["spec"]
    wanted = spec["selector"]["matchLabels"].items()
    chosen = [
        name
        for kind, name in objects
        if kind == "Service" and wanted <= objects[kind, name]["metadata"]["labels"].items()
    ]
    assert chosen == [f"{NAME}-replicas"]
    assert spec["endpoints"][0]["authorization"]["credentials"] == {"name": "keys", "key": "retrieval"}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("setings.A=b", "setings"),
        ("settings.PORT=1", "PORT"),
        ("settings.TURBOV2_HOME=/x", "TURBOV2_HOME"),
        ("gpus=-1", "gpus"),
        ("service.type=Magic", "/service/type"),
        ("secrets.A.name=b", "/secrets/A"),
    ],
)
def test_values_that_mean_nothing_are_refused(wrong: str, named: str) -> None:
    done = helm("template", "retrieval", str(CHART), "--set", wrong)
    assert done.returncode != 0
    assert named in done.stderr


def test_the_schema_knows_every_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    assert set(values) == set(schema["properties"]) - {"global"}


@pytest.mark.parametrize("changes", [(), ALL], ids=["plain", "all"])
def test_kubernetes_would_take_its_objects(changes: tuple[str, ...]) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="needs the package kubernetes-validate")
    for (kind, _), thing in render(*changes).items():
        if kind != "ServiceMonitor":  # the operator's, not Kubernetes' own
            validate.validate(thing, "1.35", strict=True)


def test_every_setting_but_those_of_the_image_may_be_set() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    names = schema["properties"]["settings"]["propertyNames"]
    taken = {
        setting.variable
        for setting in SETTINGS
        if re.search(names["pattern"], setting.variable) and setting.variable not in names["not"]["enum"]
    }
    # Address and folder are the chart's; the key comes from `secrets`.
    assert {setting.variable for setting in SETTINGS} - taken == {
        "HOST",
        "PORT",
        "EMBEDDINGS_API_KEY",
        "TURBOV2_HOME",
    }
