"""The rules and the dashboard as objects of Kubernetes, and the expressions in them."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from labs import ROOT

EXAMPLES = ROOT / "packaging" / "examples"
RULES = EXAMPLES / "alerts.yml"
DASHBOARD = EXAMPLES / "grafana-dashboard.json"
MADE = "# Made from {} by ./dev generate.\n"


def prometheus_rule() -> str:
    """Return the rules as an object of the Prometheus operator."""
    head = """\
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: certmedic
  labels:
    app.kubernetes.io/name: certmedic
spec:
"""
    rules = RULES.read_text()
    return MADE.format(RULES.name) + head + textwrap.indent(rules[rules.index("groups:") :], "  ")


def config_map() -> str:
    """Return the dashboard as a ConfigMap with the label by which Grafana's side-car finds it."""
    head = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: certmedic-dashboard
  labels:
    grafana_dashboard: "1"
data:
  certmedic.json: |
"""
    return MADE.format(DASHBOARD.name) + head + textwrap.indent(DASHBOARD.read_text(), "    ")


def alerts() -> list[dict[str, Any]]:
    """Return every alert of the rules."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return loaded


def panels() -> Iterator[tuple[str, str, str]]:
    """Yield (title, kind, expression) of each query of the dashboard's panels, with its variables set to match everything."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], panel["type"], filled(target["expr"])


def filled(expression: str, values: Mapping[str, str] | None = None) -> str:
    """Return an expression with Grafana's variables replaced, by default by values that match everything."""
    known = {"cluster": ".*", "instance": ".*", "__rate_interval": "1m", "__range": "1h", **(values or {})}
    for name, text in known.items():
        expression = expression.replace(f"${name}", text)
    assert "$" not in expression, expression
    return expression
