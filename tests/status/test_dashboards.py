"""The dashboard and the alert rules name exactly what is exported: a renamed metric would leave a silent hole."""

import json
import re
from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from core.config import PROJECT_ROOT
from core.engine.histogram import Histogram
from core.engine.vitals import LagRow, QueueRow, TaskRow
from tests.status.test_metrics import FULL, samples

NAME = re.compile(r"\bbreakwater_\w+")
LABEL = re.compile(r"(\w+)(?:=~?|!=)\"")


def exported() -> dict[str, set[str]]:
    """The labels of every sample there is, by its name."""
    told = replace(
        FULL,
        tasks=(TaskRow(name="waves", running=True, running_s=1.0, progress_s=1.0),),
        lag=LagRow(buckets={0.1: 1, float("inf"): 0}),
        queues=(QueueRow(name="reports", depth=0, bound=10),),
    )
    found: dict[str, set[str]] = {}
    for sample in samples(told, unprotected_milliseconds=Histogram()):
        name, _, labels = sample.partition("{")
        found.setdefault(name, set()).update(part.partition("=")[0] for part in labels.rstrip("}").split(",") if part)
    return found


def _dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((PROJECT_ROOT / "docs" / "grafana.json").read_text("utf-8"))
    return found


def _queries() -> Iterator[str]:
    for panel in _dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]


def _rules() -> list[str]:
    text = (PROJECT_ROOT / "docs" / "alert_rules.yml").read_text("utf-8")
    return re.findall(r"^ +expr: (.+)$", text, re.MULTILINE)


def test_the_dashboard_shows_exactly_what_is_exported() -> None:
    shown = {name for query in _queries() for name in NAME.findall(query)}
    there = exported()
    assert shown <= there.keys()
    # of a histogram one of its three samples is enough
    plain = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in there} == plain


def test_every_alert_rule_looks_at_something_that_is_exported() -> None:
    rules = _rules()
    assert len(rules) >= 15
    there = exported()
    for rule in rules:
        assert set(NAME.findall(rule)) <= there.keys(), rule
        assert NAME.findall(rule) or rule.startswith("up{"), rule


def test_queries_choose_by_labels_that_exist() -> None:
    known = {label for labels in exported().values() for label in labels} | {"instance", "job", "le"}
    for query in (*_queries(), *_rules()):
        assert set(LABEL.findall(query)) <= known, query


def test_the_dashboard_can_be_imported() -> None:
    told = _dashboard()
    numbers = [panel["id"] for panel in told["panels"]]
    assert len(numbers) == len(set(numbers))
    assert all(panel["title"] and panel["gridPos"]["w"] <= 24 for panel in told["panels"])
    assert {one["name"] for one in told["templating"]["list"]} == {"source", "instance"}
