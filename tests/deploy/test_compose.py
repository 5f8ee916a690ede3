"""compose.yaml and what watches the server, as Compose reads them and as a real Prometheus uses them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from deploy.monitoring import dashboard
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
from tests.support.server import REAL, MakeServer, RunningServer, ask, until
from turbov2.settings import load_settings
from turbov2.units import parse_duration_s

SERVER, ON_CPU = "embeddings-turbov2", "embeddings-turbov2-cpu"
MONITORING = ROOT / "deploy" / "monitoring"


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
    return found


def scrape() -> dict[str, Any]:
    (job,) = yaml.safe_load((MONITORING / "prometheus.yml").read_text("utf-8"))["scrape_configs"]
    return dict(job)


def test_the_server_is_the_original_service_with_its_gpu() -> None:
    service = compose()["services"][SERVER]
    assert service["ports"] == [f"{PORT}:{PORT}"]
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert "profiles" not in service


def test_its_profiles_are_the_cpu_and_the_monitoring() -> None:
    profiles = {name: service.get("profiles") for name, service in compose()["services"].items()}
    assert profiles == {
        SERVER: None,
        ON_CPU: ["cpu"],
        "prometheus": ["monitoring"],
        "grafana": ["monitoring"],
    }
    service = compose()["services"][ON_CPU]
    assert "deploy" not in service
    assert service["build"]["args"] == {"VARIANT": "cpu"}
    assert service["networks"]["default"]["aliases"] == [SERVER]


@pytest.mark.parametrize("name", [SERVER, ON_CPU])
def test_the_server_gets_settings_its_volume_and_time_to_stop(name: str) -> None:
    service = compose()["services"][name]
    assert_settings(variable.partition("=")[0] for variable in service["environment"])
    folder = [line for stage in chain(read_stages(ROOT / "Dockerfile")) for line in stage.all("WORKDIR")][-1]
    assert service["volumes"] == [f"turbov2:{folder.text}"]
    assert parse_duration_s(service["stop_grace_period"]) > load_settings({}).drain_s


def test_nothing_runs_with_more_rights_than_it_needs() -> None:
    for service in compose()["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in service


def test_every_file_that_is_mounted_is_there() -> None:
    mounts = [volume for service in compose()["services"].values() for volume in service["volumes"]]
    files = [mount.partition(":")[0] for mount in mounts if mount.startswith("./")]
    assert len(files) == 3
    assert all((ROOT / path).exists() for path in files)
    assert all(mount.endswith(":ro") for mount in mounts if mount.startswith("./"))


def test_compose_itself_reads_it() -> None:
    done = subprocess.run(
        [
            tool("docker-compose"),
            "--file",
            "compose.yaml",
            "--profile",
            "cpu",
            "--profile",
            "monitoring",
            "config",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert set(yaml.safe_load(done.stdout)["services"]) == set(compose()["services"])


def test_prometheus_asks_the_service_with_a_key() -> None:
    job = scrape()
    assert job["static_configs"] == [{"targets": [f"{SERVER}:{PORT}"]}]
    assert "/metrics" in documented_routes()  # where Prometheus looks unless told otherwise
    services = compose()["services"]
    (secret,) = services["prometheus"]["secrets"]
    assert job["authorization"]["credentials_file"] == f"/run/secrets/{secret}"
    assert secret in compose()["secrets"]


def test_grafana_finds_its_source_and_its_dashboard() -> None:
    folder = MONITORING / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text("utf-8"))["datasources"]
    (provider,) = yaml.safe_load((folder / "dashboards" / "turbov2.yml").read_text("utf-8"))["providers"]
    grafana = compose()["services"]["grafana"]
    assert source["url"] == "http://prometheus:9090"
    assert {panel["datasource"]["uid"] for panel in dashboard.dashboard()["panels"]} == {source["uid"]}
    assert any(volume.split(":")[1] == provider["options"]["path"] for volume in grafana["volumes"])
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert home.parent == Path(provider["options"]["path"])
    assert (dashboard.FOLDER / home.name).is_file()


def test_the_dashboard_is_what_its_script_writes() -> None:
    assert (dashboard.FOLDER / "turbov2.json").read_text("utf-8") == dashboard.text(), "run `make docs`"


def test_the_dashboard_shows_metrics_that_there_are_in_panels_side_by_side() -> None:
    shown = metrics_in(json.dumps(dashboard.dashboard()))
    assert shown - {"turbov2"} <= documented_metrics()
    panels = dashboard.dashboard()["panels"]
    assert len({panel["title"] for panel in panels}) == len(panels)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)
    assert max(x for x, _ in places) + panels[0]["gridPos"]["w"] <= 24


def test_a_real_prometheus_scrapes_with_a_key_and_answers_every_panel(
    make_server: MakeServer, tmp_path: Path
) -> None:
    server = make_server(env={"EMBEDDINGS_API_KEY": "first,second"})
    key = {"X-API-Key": "second"}
    assert ask(server, "/api/embed", REAL, ["a text"], key).status_code == 200
    with prometheus(server, tmp_path) as asked:
        until(lambda: result(asked, 'up{job="turbov2"}') == [1.0])
        until(lambda: bool(result(asked, "sum(turbov2_requests_accepted_total) > 0")))
        for panel in dashboard.dashboard()["panels"]:
            for target in panel["targets"]:
                query = target["expr"].replace("$__rate_interval", "1m").replace("$model", ".*")
                result(asked, query)


@contextmanager
def prometheus(server: RunningServer, folder: Path) -> Iterator[httpx.Client]:
    """Inside, our configuration scrapes this server each second, with its second key."""
    key_file = folder / "metrics-key"
    key_file.write_text("second\n", "utf-8")
    configuration = (MONITORING / "prometheus.yml").read_text("utf-8")
    configuration = configuration.replace(f"{SERVER}:{PORT}", f"127.0.0.1:{server.port}")
    configuration = configuration.replace("/run/secrets/metrics-key", str(key_file))
    configuration = re.sub(r"scrape_interval: \w+", "scrape_interval: 1s", configuration)
    (folder / "prometheus.yml").write_text(configuration, "utf-8")
    command = [
        tool("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'series'}",
        "--web.listen-address=127.0.0.1:0",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        address = re.compile(r"Listening on\"? address=(\S+)")
        until(lambda: address.search((folder / "prometheus.log").read_text("utf-8")) is not None)
        found = address.search((folder / "prometheus.log").read_text("utf-8"))
        assert found
        with httpx.Client(base_url=f"http://{found[1]}") as asked:
            yield asked
    finally:
        process.terminate()
        process.wait(20)


def result(asked: httpx.Client, query: str) -> list[float]:
    """Returns the values of an instant query. Raises: AssertionError where Prometheus cannot read it."""
    answer = asked.get("/api/v1/query", params={"query": query})
    assert answer.status_code in (200, 503), f"{query}: {answer.text}"  # 503 while it starts
    if answer.status_code == 503:
        return []
    return [float(series["value"][1]) for series in answer.json()["data"]["result"]]
