"""What is wrong with services' tails: of one, of all, and what it was before."""

import pytest

from api.service_tail_models import AlertHistoryPage, ServiceAlertsPage
from store.connect import open_engine
from store.tail_alerts import put_alerts
from tests.api.services_world import BURN, CALM, MINUTE_NS, filled_services
from tests.api.test_lists import pages
from tests.api.test_problems import problem_of
from tests.api.world import NOW_NS, asking

ALL = "/api/v1/alerts/services"
OWN = "/api/v1/services/shop/alerts"
HISTORY = "/api/v1/services/shop/alerts/history"


def names(client, path, **parameters):
    answer = client.get(path, **parameters)
    assert answer.status_code == 200, answer.text
    ServiceAlertsPage.model_validate_json(answer.content, strict=True)
    return [(one["service"], one["name"]) for one in answer.json()["alerts"]]


def test_an_alert_says_what_is_wrong_why_and_what_to_do(services_client):
    (alert,) = services_client.get(OWN, firing="true").json()["alerts"]
    wanted = {
        "service": "shop", "name": "tail_burn", "severity": "page", "firing": True, "since_ns": BURN.since_ns,
        "cause": "queueing", "text": BURN.text, "figures": {"burn": 16.5},
    }  # fmt: skip
    assert {name: alert[name] for name in wanted} == wanted


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_alerts_are_filtered_and_paged_alike_in_both_databases(kind, services_url, request):
    if kind == "postgresql":
        services_url = filled_services(request.getfixturevalue("postgres_url"))
    everything = [("shop", "predictor_drift"), ("shop", "tail_burn"), ("steady", "predictor_drift")]
    with asking(services_url) as client:
        assert names(client, ALL) == everything
        for parameters, wanted in (
            ({"firing": "true"}, everything[1:2]),
            ({"firing": "false"}, [everything[0], everything[2]]),
            ({"severity": "ticket", "service": "steady"}, everything[2:]),
            ({"severity": "info"}, []),
        ):
            assert names(client, ALL, **parameters) == wanted, parameters
        paged = [(one["service"], one["name"]) for page in pages(client, ALL, limit=1) for one in page.json()["alerts"]]
        assert paged == everything
        assert names(client, OWN) == everything[:2]
        assert names(client, OWN.replace("shop", "quiet")) == []


def test_the_history_has_each_change_the_newest_first(services_url):
    engine = open_engine(services_url)
    with engine.begin() as connection:
        put_alerts(connection, "shop", [CALM], NOW_NS)  # what burned does not any more
    engine.dispose()
    with asking(services_url) as client:
        answer = client.get(HISTORY, end="now+1m")
        AlertHistoryPage.model_validate_json(answer.content, strict=True)
        changes = [(one["name"], one["firing"], one["changed_ns"]) for one in answer.json()["changes"]]
        assert changes == [("tail_burn", False, NOW_NS), ("tail_burn", True, NOW_NS - MINUTE_NS)]
        paged = [
            one["firing"] for page in pages(client, HISTORY, limit=1, end="now+1m") for one in page.json()["changes"]
        ]
        assert paged == [False, True]
        assert client.get(HISTORY).json()["changes"][0]["firing"] is True
        assert client.get(HISTORY, start="-2d", end="-1d").json()["changes"] == []


@pytest.mark.parametrize(
    ("path", "parameters", "status", "words"),
    [
        (ALL, {"severity": "pge"}, 400, "did you mean page?"),
        (ALL, {"firing": "yes"}, 400, "there are true, false"),
        (ALL, {"service": "nobody"}, 404, "unknown service"),
        (ALL, {"cursor": "aG9zdA"}, 400, "cursor is not one"),
        (OWN, {"service": "shop"}, 400, "takes no parameter 'service'"),
        (OWN.replace("shop", "nobody"), {}, 404, "unknown service"),
        (HISTORY, {"cursor": "aG9zdA"}, 400, "cursor is not one"),
        (HISTORY, {"start": "now", "end": "-1h"}, 400, "is not before"),
        (HISTORY.replace("shop", "nobody"), {}, 404, "unknown service"),
    ],
)
def test_alerts_of_nothing_that_can_be_meant_are_refused(services_client, path, parameters, status, words):
    problem = problem_of(services_client.get(path, **parameters))
    assert (problem["status"], words in problem["detail"]) == (status, True), problem["detail"]
