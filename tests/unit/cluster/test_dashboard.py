"""Every panel of the Grafana dashboard asks for metrics and labels that the service tells."""

import json
import re
from collections import defaultdict
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cluster.session import repository_root
from serve.metrics import Metrics
from tests.unit.serve.test_metrics import passage

DASHBOARD = json.loads((repository_root() / "cluster" / "grafana_dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [
    pytest.param(target["expr"], id=f"{panel['title']}-{target['refId']}")
    for panel in PANELS
    for target in panel["targets"]
]
METRIC = re.compile(r"\b(millrace_\w+)(?:\{([^}]*)\})?")
SELECTOR = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"[^"]*"')
GROUPING = re.compile(r"\b(?:by|ignoring|on|without)\s*\(([^)]*)\)")
LEGEND = re.compile(r"\{\{\s*(\w+)\s*\}\}")


@pytest.fixture(scope="module")
def labels() -> dict[str, set[str]]:
    """Labels by sample name of everything that a service counts."""
    metrics = Metrics()
    metrics.observe_request("/v1/recommendations", 200, 0.01)
    metrics.observe(passage())
    metrics.observe_batch(4)
    metrics.count_events("shop", 3)
    for outcome in ("hit", "miss", "eviction"):
        metrics.count_cache("answers", outcome)
    metrics.observe_cache("answers", 7, 30_000)
    metrics.count_refused("event loop late")
    metrics.count_retry("ranker")
    metrics.observe_pressure(0.4, 0)
    metrics.count_challenger("unseen")
    metrics.observe_challenger(0.5, {"click": 0.1})
    found: dict[str, set[str]] = defaultdict(set)
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            found[sample.name] |= set(sample.labels)
    return found


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_asks_for_what_exists(expression: str, labels: dict[str, set[str]]) -> None:
    used = METRIC.findall(expression)
    assert used, "no metric"
    for name, selectors in used:
        assert name in labels, f"no metric {name}"
        parts = [part for part in selectors.split(",") if part.strip()]
        assert len(SELECTOR.findall(selectors)) == len(parts), selectors
        assert set(SELECTOR.findall(selectors)) <= labels[name], name
    known = set.union(*(labels[name] for name, _ in used))
    for group in GROUPING.findall(expression):
        assert {label.strip() for label in group.split(",")} <= known
    assert expression.count("(") == expression.count(")")


def test_quantiles_are_taken_of_buckets(labels: dict[str, set[str]]) -> None:
    for parameter in EXPRESSIONS:
        (expression,) = parameter.values
        if "histogram_quantile" in expression:
            assert re.search(r"millrace_\w+_bucket", expression)
            assert "by (le" in expression


def test_legends_name_labels_that_the_expression_keeps() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            kept = set(re.findall(r"\w+", " ".join(GROUPING.findall(target["expr"]))))
            assert set(LEGEND.findall(target["legendFormat"])) <= kept, panel["title"]


def test_panels_have_their_own_ids_and_places_and_say_what_they_show() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"]["uid"] == "${datasource}"
        place: dict[str, Any] = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))


def test_every_count_of_the_service_has_a_panel() -> None:
    expressions = " ".join(parameter.values[0] for parameter in EXPRESSIONS)
    families = text_string_to_metric_families(Metrics().render().decode())
    names = {family.name.removesuffix("_created") for family in families}
    assert {name for name in names if name not in expressions} == set()
