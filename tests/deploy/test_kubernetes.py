"""deploy/kubernetes against the schemas of Kubernetes, and against what the command line and the settings know."""

import copy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tailwatch.settings import load_settings
from tests.counterparts.choice import missing
from tests.deploy.deployed import DEPLOY, parsed_command

BASE, HOST_AGENTS = DEPLOY / "kubernetes/base", DEPLOY / "kubernetes/host-agents"
GPU_JOBS = DEPLOY / "kubernetes/gpu-jobs"
VERSIONS = ("1.30", "1.37")
CLUSTER_WIDE = {"Namespace"}
Objects = list[dict[str, Any]]


def rendered(folder: Path) -> Objects:
    """What kustomize makes of a folder."""
    if shutil.which("kubectl") is None:
        missing("kubectl is not installed, so kustomize cannot be run")
    command = ["kubectl", "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return list(yaml.safe_load_all(done.stdout))


def written() -> Objects:
    """What stands in the files of the base, as it stands there."""
    named = yaml.safe_load((BASE / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
    return [each for name in named for each in yaml.safe_load_all((BASE / name).read_text(encoding="utf-8"))]


def pods(objects: Objects) -> dict[str, dict[str, Any]]:
    """Kind and name -> pod template."""
    return {
        f"{each['kind']} {each['metadata']['name']}": each["spec"]["template"]
        for each in objects
        if "template" in each.get("spec", {})
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_what_kubernetes_describes(version: str) -> None:
    objects = written()
    assert len(objects) > 15
    for each in objects:
        kubernetes_validate.validate(each, version, strict=True)


def test_the_schemas_would_have_noticed() -> None:
    broken = copy.deepcopy(next(each for each in written() if each["kind"] == "DaemonSet"))
    broken["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("folder", [BASE, HOST_AGENTS, GPU_JOBS], ids=lambda path: path.name)
def test_kustomize_renders_it_and_every_object_is_in_our_namespace(folder: Path) -> None:
    objects = rendered(folder)
    for each in objects:
        kubernetes_validate.validate(each, VERSIONS[-1], strict=True)
        assert each["kind"] in CLUSTER_WIDE or each["metadata"]["namespace"] == "tailwatch"
    configs = {each["metadata"]["name"] for each in objects if each["kind"] == "ConfigMap"}
    used = {
        volume["configMap"]["name"]
        for template in pods(objects).values()
        for volume in template["spec"]["volumes"]
        if "configMap" in volume
    }
    assert used == configs
    assert all(name.rpartition("-")[2] != "" and "-" in name for name in used), "another content is another name"


@pytest.mark.parametrize("name", sorted(pods(written())))
def test_a_container_runs_a_command_that_exists_with_a_configuration_that_is_mounted(name: str) -> None:
    spec = pods(written())[name]["spec"]
    (container,) = spec["containers"]
    config = parsed_command(container["args"])["config"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert set(mounts) == set(volumes)
    assert config.startswith(mounts["config"] + "/")
    generated = yaml.safe_load((BASE / "kustomization.yaml").read_text(encoding="utf-8"))["configMapGenerator"]
    files = {each["name"]: [Path(file).name for file in each["files"]] for each in generated}
    assert Path(config).name in files[volumes["config"]["configMap"]["name"]]
    text = (BASE / "config" / Path(config).name).read_text(encoding="utf-8")
    for volume in ("kafka", "database", "keys"):
        if volume in mounts:
            assert mounts[volume] == f"/run/secrets/{volume}"
        elif name.startswith(("DaemonSet", "Deployment", "StatefulSet")):
            assert f"/run/secrets/{volume}/" not in text, "a secret that the part reads is not mounted"


@pytest.mark.parametrize("name", sorted(pods(written())))
def test_a_pod_keeps_to_what_the_policy_restricted_allows(name: str) -> None:
    spec = pods(written())[name]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert not any("hostPath" in volume for volume in spec["volumes"])
    for container in spec["containers"]:
        limits = container["securityContext"]
        assert limits["allowPrivilegeEscalation"] is False
        assert limits["readOnlyRootFilesystem"] is True
        assert limits["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} <= set(container["resources"]["limits"]) & set(container["resources"]["requests"])


def test_probes_ask_where_the_configuration_has_the_part_listen() -> None:
    asked = {}
    for name, template in pods(written()).items():
        (container,) = template["spec"]["containers"]
        if name.startswith("Job"):
            continue
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert {"startupProbe", "livenessProbe"} <= set(container)
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked.setdefault(name, set()).update(
                {ports[container[probe]["httpGet"]["port"]]} if probe in container else set()
            )
        settings = load_settings(BASE / "config" / Path(container["args"][-1]).name, environment={}).settings
        listens = {"agent": settings.agent.metrics_port, "collector": settings.collector.metrics_port}
        hosts = {"agent": settings.agent.metrics_host, "collector": settings.collector.metrics_host}
        part = container["args"][0]
        assert asked[name] == {listens.get(part, settings.api.port)}
        assert hosts.get(part, settings.api.host) == "0.0.0.0", "the kubelet asks from outside of the pod"


def test_services_and_disruption_budgets_mean_pods_that_there_are() -> None:
    objects = written()
    labels = [template["metadata"]["labels"] for template in pods(objects).values()]
    for each in objects:
        if each["kind"] in ("Service", "PodDisruptionBudget"):
            selector = each["spec"]["selector"]
            wanted = selector.get("matchLabels", selector)
            assert any(wanted.items() <= some.items() for some in labels), each["metadata"]["name"]
        if each["kind"] == "PodDisruptionBudget":  # no pod is ready while the database is away
            assert each["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    for each in objects:
        if each["kind"] in ("DaemonSet", "Deployment", "StatefulSet"):
            assert (
                each["spec"]["selector"]["matchLabels"].items()
                <= each["spec"]["template"]["metadata"]["labels"].items()
            )


def test_agents_on_the_nodes_network_may_ask_the_api() -> None:
    (policy,) = [
        each for each in rendered(HOST_AGENTS) if (each["kind"], each["metadata"]["name"]) == ("NetworkPolicy", "api")
    ]
    # Their packets come from the node: no selector of pods or namespaces would let them in.
    assert policy["spec"]["ingress"] == [{"ports": [{"port": 8080, "protocol": "TCP"}]}]


def test_the_key_of_every_node_may_not_read_and_each_key_is_made_and_mounted_where_it_is_used() -> None:
    templates = pods(written())
    scopes = {}
    for template in templates.values():
        words = template["spec"]["containers"][0]["args"]
        if words[0] == "key":
            made = parsed_command(words)
            scopes[Path(made["key_path"]).name] = set(made["scopes"])
    assert scopes == {"agents-key": {"agent"}, "pipeline-key": {"read"}, "grafana-key": {"read"}}
    for name in ("DaemonSet agent", "Deployment pipeline-agent"):
        spec = templates[name]["spec"]
        text = (BASE / "config" / Path(spec["containers"][0]["args"][-1]).name).read_text(encoding="utf-8")
        (keys,) = [volume["secret"]["items"] for volume in spec["volumes"] if volume["name"] == "keys"]
        assert {each["path"] for each in keys} == {key for key in scopes if f"/run/secrets/keys/{key}" in text}, name


def test_secrets_are_referred_to_and_never_written_down() -> None:
    objects = written()
    assert not [each for each in objects if each["kind"] == "Secret"]
    names = {
        volume["secret"]["secretName"]
        for template in pods(objects).values()
        for volume in template["spec"]["volumes"]
        if "secret" in volume
    }
    assert names == {"tailwatch-database", "tailwatch-kafka", "tailwatch-keys"}
    modes = {
        volume["secret"]["defaultMode"]
        for template in pods(objects).values()
        for volume in template["spec"]["volumes"]
        if "secret" in volume
    }
    assert modes == {0o440}
