"""Flags of `tailwatch gpu`: why jobs died, whether to run them again, and what a cluster's jobs lost."""

import argparse

from tailwatch.gpu_diagnosis_parsers import add_diagnosis
from tailwatch.gpu_report_parsers import add_report
from tailwatch.gpu_retry_parsers import add_retries
from tailwatch.gpu_rules_parsers import add_rules
from tailwatch.gpu_service_parsers import add_service

Actions = argparse._SubParsersAction  # the type that argparse gives, and does not name


def add_gpu(commands: "Actions[argparse.ArgumentParser]") -> None:
    """The group `gpu` with its commands."""
    text = "say why GPU jobs died, and whether to run them again"
    group = commands.add_parser("gpu", help=text, description=text[:1].upper() + text[1:] + ".")
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    add_diagnosis(actions)
    add_rules(actions)
    add_report(actions)
    add_retries(actions)
    add_service(actions)
