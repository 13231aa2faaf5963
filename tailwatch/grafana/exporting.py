"""Everything for Grafana and for rule evaluators as files, and whether a folder holds just that.

Files are the same bytes for the same settings, so that they can be kept under version control and compared.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from tailwatch.grafana import provisioning
from tailwatch.grafana.config import PATH, GrafanaSettings
from tailwatch.grafana.declared import RuleGroup
from tailwatch.grafana.prometheus_rules import left_out, metric_names, rules_on_federated, rules_on_tailwatch
from tailwatch.grafana.wanted import all_groups, wanted

_RENDERED: Final = "Rendered by `tailwatch grafana export`: change the settings and render again."
#: Files that an earlier export may have left and that are ours by their names.
_OURS: Final = "dashboards/tailwatch-*.json"


@dataclass(frozen=True, slots=True)
class Difference:
    """A folder against what would be rendered: paths below it, sorted."""

    missing: tuple[str, ...]
    different: tuple[str, ...]
    left_over: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.different or self.left_over)


def rendered_files(settings: GrafanaSettings) -> dict[str, str]:
    """Text by path below the export's folder.

    Raises:
        ConfigError, DeclarationError: what is declared cannot be rendered.
    """
    everything, groups = wanted(settings), all_groups(settings)
    labels, runbooks = settings.labels, settings.runbook_url
    folder, rules = "provisioning/alerting", provisioning.rules_file(everything)
    files = {
        "README.md": _readme(settings),
        "provisioning/datasources/tailwatch.yaml": _yaml(provisioning.datasources_file(everything, settings)),
        "provisioning/dashboards/tailwatch.yaml": _yaml(provisioning.dashboards_file(everything, settings)),
        f"{folder}/rules.yaml": _yaml(rules),
        f"{folder}/contact-points.yaml.example": _yaml(
            provisioning.contact_points_example(),
            "Rename to contact-points.yaml once ALERT_WEBHOOK_URL is in the environment of Grafana's process.",
        ),
        f"{folder}/policies.yaml.example": _yaml(
            provisioning.policies_example(),
            "Renamed to policies.yaml, this REPLACES the whole notification tree of the organisation: merge it into",
            "yours by hand where there is one. It needs the contact point of contact-points.yaml.",
        ),
        "prometheus/rules-on-tailwatch.yaml": _yaml(
            rules_on_tailwatch(groups, labels, runbooks),
            "For evaluators that ask Tailwatch, such as vmalert or Thanos' ruler, at /prometheus of the API.",
        ),
        "prometheus/rules-on-federated.yaml": _yaml(
            rules_on_federated(groups, labels, runbooks),
            "For a Prometheus that scrapes /prometheus/federate as scrape-federate.yaml says.",
            *(f"Left out: {name}, for {why}." for name, why in left_out(groups)),
        ),
        "prometheus/scrape-federate.yaml": _yaml(
            _scrape(settings, groups), "For prometheus.yml: what the rules of rules-on-federated.yaml read."
        ),
    }
    files |= {f"dashboards/{board['uid']}.json": _json(board) for board in everything.dashboards}
    return files


def difference(folder: Path, files: Mapping[str, str]) -> Difference:
    """How the folder differs from the files; others in it do not count, dashboards with our names do."""
    missing = [name for name in files if not (folder / name).exists()]
    different = [
        name
        for name, text in files.items()
        if name not in missing and (folder / name).read_bytes() != text.encode("utf-8")
    ]
    left_over = [found.relative_to(folder).as_posix() for found in folder.glob(_OURS)]
    return Difference(
        tuple(sorted(missing)), tuple(sorted(different)), tuple(sorted(name for name in left_over if name not in files))
    )


def write(folder: Path, files: Mapping[str, str], found: Difference) -> None:
    """Make the folder hold the files; touches only what differs."""
    for name in (*found.missing, *found.different):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files[name].encode("utf-8"))
    for name in found.left_over:
        (folder / name).unlink()


def _scrape(settings: GrafanaSettings, groups: tuple[RuleGroup, ...]) -> dict[str, Any]:
    """A scrape job that takes every window exactly once, with Tailwatch's own labels and times."""
    sketches = {objective.metric for objective in settings.objectives}
    read = {name for group in groups for rule in group.rules for name in metric_names(rule.federated)}
    names = sorted({name.removesuffix("_count") if name.removesuffix("_count") in sketches else name for name in read})
    url = urlsplit(settings.source_url)
    job: dict[str, Any] = {
        "job_name": "tailwatch",
        "scheme": url.scheme,
        "metrics_path": f"{url.path.removesuffix(PATH)}{PATH}/federate",
        "scrape_interval": f"{settings.interval_s}s",
        "honor_labels": True,
        "honor_timestamps": True,
        "params": {"match[]": names},
    }
    if settings.api_key_path:
        job["authorization"] = {"credentials_file": settings.api_key_path}
    job["static_configs"] = [{"targets": [url.netloc]}]
    return {"scrape_configs": [job]}


def _readme(settings: GrafanaSettings) -> str:
    return f"""# Tailwatch in Grafana

{_RENDERED}

| here | there |
|---|---|
| `provisioning/` | Grafana's provisioning folder, `/etc/grafana/provisioning` |
| `dashboards/` | `{settings.dashboards_dir}`, where `provisioning/dashboards` looks for them |
| `prometheus/rules-on-tailwatch.yaml` | evaluators that ask Tailwatch: vmalert, Thanos' ruler |
| `prometheus/rules-on-federated.yaml`, `scrape-federate.yaml` | a Prometheus that scrapes `/prometheus/federate` |

Files that end in `.example` are not read by Grafana before they are renamed; read their first lines.
"""


def _yaml(data: dict[str, Any], *comments: str) -> str:
    head = "".join(f"# {line}\n" for line in (_RENDERED, *comments))
    body: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return head + body


def _json(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


class _Dumper(yaml.SafeDumper):
    """Never writes an alias where two places have the same content: people read these files."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True
