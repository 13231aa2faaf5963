"""`tailwatch drives` and its actions against a stand-in API; the stand-in's answers are shaped as the API's own."""

import json
from typing import Any

import pytest

from api.drive_models import ActionsAnswer, DriveDetail, DrivesPage, MutesPage
from tailwatch.cli import main
from tests.tailwatch.stand_in import StandIn

DRIVE: dict[str, Any] = {
    "id": 1, "drive": "S1", "node": "web-7", "rack": "r12", "model": "SSD 850 PRO", "vendor": "Samsung", "family": None,
    "firmware": "EXM02", "kind": "ata", "state": "replace", "since": "2026-11-20T00:00:00Z",
    "since_ns": 1_795_132_800 * 10**9, "probability_7d": 0.4, "probability_30d": 0.714, "wear_used_percent": 61.4,
    "wear_ends": "2027-09-01", "wear_ends_early": "2027-07-10", "wear_ends_late": None,
    "first_reason": "media errors 0 -> 12", "synthetic": False, "model_synthetic": False,
    "first_day": "2026-01-09", "last_day": "2026-11-22", "assessed": "2026-11-22T07:00:03Z",
    "assessed_ns": 1_795_330_803 * 10**9, "href": "/api/v1/drives/S1",
}  # fmt: skip
PLAIN: dict[str, Any] = {
    **DRIVE, "id": 2, "drive": "host0:/dev/sdb", "rack": None, "model": None, "state": "unknown",
    "probability_7d": None, "probability_30d": None, "wear_used_percent": None, "wear_ends": None,
    "wear_ends_early": None, "first_reason": "a virtual disk",
}  # fmt: skip
WEAR: dict[str, Any] = {
    "used_percent": 61.4, "percent_per_day": 0.1, "ends": "2027-09-01", "ends_early": "2027-07-10", "ends_late": None,
    "confidence": 0.9, "basis": "window", "why_not": "",
}  # fmt: skip
RULE = {
    "rule": "uncorrectable-grew", "severity": "replace", "column": "uncorrectable_total", "value": 12, "before": 0,
    "days": 7, "text": "uncorrectable errors 0 -> 12 in 7 days", "muted": False,
}  # fmt: skip
DETAIL: dict[str, Any] = {
    **DRIVE, "day": "2026-11-22", "rules": [RULE], "wear": WEAR, "why_no_probability": "",
    "reasons": [
        {"feature": "a", "column": "realloc_total", "contribution": 1.7, "text": "reallocated sectors 4 -> 61"},
        {"feature": "b", "column": "power_on_h", "contribution": -0.2, "text": "4,100 hours powered on"},
    ],
    "why_unknown": "", "model_digest": "sha256:0", "shadow": None, "muted": [],
    "causes": [{"cause": "probability", "level": 0.7, "acknowledged": True}],
    "states": [{"at": "2026-11-20T01:00:00Z", "at_ns": 1, "since": "2026-11-20T00:00:00Z", "since_ns": 1, "was": "good",
                "state": "replace", "why": "uncorrectable-grew"}],
    "days": [], "actions": [],
}  # fmt: skip
ACTION: dict[str, Any] = {
    "id": 1, "kind": "acknowledge", "drive": "S1", "model": None, "cause": "probability", "column": None,
    "outcome": None, "day": None, "level": 0.7, "note": "ordered", "who": "oncall", "created": "2026-11-22T07:00:00Z",
    "created_ns": 1,
    "until": "2026-12-22T07:00:00Z", "until_ns": 2, "ended": None, "ended_ns": None,
}  # fmt: skip


def page(*drives: dict[str, Any], cursor: str | None = None) -> dict[str, Any]:
    found = {"drives": list(drives), "next_cursor": cursor}
    DrivesPage.model_validate(found)
    return found


def shown(api: StandIn, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main(["drives", "--url", api.url, *words]) == 0
    return capsys.readouterr().out.splitlines()


def test_drives_are_a_table_in_the_order_of_the_api(api: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    api.put("/api/v1/drives", page(DRIVE, PLAIN))
    assert shown(api, capsys) == [
        "state    fails in 30 d  wear  life ends   host   rack  serial          model        firmware  reason",
        "replace          71.4%   61%  2027-09-01  web-7  r12   S1              SSD 850 PRO  EXM02     media errors 0 -> 12",  # noqa: E501
        "unknown              -     -  -           web-7  -     host0:/dev/sdb  -            EXM02     a virtual disk",
    ]


def test_made_up_drives_and_what_learned_from_such_are_told(api: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    api.put("/api/v1/drives", page({**DRIVE, "synthetic": True, "model_synthetic": True}, PLAIN))
    lines = shown(api, capsys)
    assert [line.split()[-1] for line in lines[:3]] == ["origin", "synthetic", "measured"]
    assert "learned from synthetic drives" in lines[-1]


def test_what_narrows_the_list_is_passed_on_and_pages_are_followed_up_to_the_limit(
    api: StandIn, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = iter([page(*[DRIVE] * 100, cursor="x"), page(*[PLAIN] * 20, cursor="y")])
    asked: list[list[tuple[str, str]]] = []

    def answer(url: str, path: str, question: list[tuple[str, str]]) -> dict[str, Any]:
        assert (url, path) == (api.url, "/api/v1/drives")
        asked.append(question)
        return next(pages)

    monkeypatch.setattr("tailwatch.commands.drives.get", answer)
    words = ["--state", "replace,watch", "--model", "M", "--node", "web-7", "--sort", "wear", "--limit", "120"]
    lines = shown(api, capsys, *words)
    narrowed = [("state", "replace,watch"), ("model", "M"), ("node", "web-7"), ("sort", "wear")]
    assert asked == [[*narrowed, ("limit", "100")], [*narrowed, ("limit", "20"), ("cursor", "x")]]
    assert len(lines) == 123
    assert "--limit 240" in lines[-1]


def test_json_is_what_the_api_said(api: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    api.put("/api/v1/drives", page(DRIVE))
    assert json.loads("\n".join(shown(api, capsys, "--output", "json"))) == {"drives": [DRIVE]}


@pytest.mark.parametrize(("words", "said"), [([], "no drives yet"), (["--state", "watch"], "no drives like that")])
def test_no_drive_is_said_in_words(
    api: StandIn, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    api.put("/api/v1/drives", page())
    assert shown(api, capsys, *words)[0].startswith(said)


def test_one_drive_is_shown_with_the_three_outputs_apart(api: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    DriveDetail.model_validate(DETAIL)
    api.put("/api/v1/drives/S1", DETAIL)
    assert shown(api, capsys, "show", "S1") == [
        "S1: replace since 2026-11-20",
        "  SSD 850 PRO, EXM02, ata; web-7 in r12; last read 2026-11-22",
        "rules",
        "  replace: uncorrectable errors 0 -> 12 in 7 days (uncorrectable-grew)",
        "wear",
        "  61.4 % of the rated life used; ends 2027-09-01 (2027-07-10 to open with 90 %, by its last days)",
        "probability of failing",
        "  40.0% within 7 days, 71.4% within 30 days",
        "  for: reallocated sectors 4 -> 61",
        "  against: 4,100 hours powered on",
        "acknowledged: probability",
        "changes",
        "  2026-11-20 good -> replace: uncorrectable-grew",
    ]


def test_a_drive_without_a_probability_says_why(api: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    detail = {
        **DETAIL, **PLAIN, "synthetic": True, "rules": [], "wear": None, "reasons": [], "states": [], "causes": [],
        "why_no_probability": "no model is installed", "why_unknown": "a virtual disk",
    }  # fmt: skip
    api.put("/api/v1/drives/host0%3A%2Fdev%2Fsdb", detail)
    lines = shown(api, capsys, "show", "host0:/dev/sdb")
    for said in (
        "  none: no model is installed", "  unknown: a virtual disk", "  none fired", "  not known",
        "  synthetic: a generator made this drive up",
    ):  # fmt: skip
        assert said in lines
    assert json.loads("\n".join(shown(api, capsys, "show", "host0:/dev/sdb", "--output", "json"))) == detail


def test_causes_are_acknowledged_with_the_key_of_the_environment(
    api: StandIn, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAILWATCH_API_KEY", "tw_abc_def")
    answer = {"actions": [ACTION], "takes_effect": "at once"}
    ActionsAnswer.model_validate(answer)
    api.put("/api/v1/drives/S1/acknowledge", answer, 201)
    words = ["acknowledge", "S1", "--cause", "probability", "--until", "now+14d", "--note", "ordered"]
    assert shown(api, capsys, *words) == ["S1: probability acknowledged until 2026-12-22T07:00:00Z", "at once"]
    shown(api, capsys, "acknowledge", "S1")
    assert api.posted == [
        ("/api/v1/drives/S1/acknowledge", {"causes": ["probability"], "note": "ordered", "until": "now+14d"}),
        ("/api/v1/drives/S1/acknowledge", {"note": ""}),
    ]
    assert set(api.keys) == {"Bearer tw_abc_def"}


def test_what_became_of_a_drive_is_sent(api: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    action = {**ACTION, "kind": "outcome", "cause": None, "outcome": "failed", "day": "2026-11-22"}
    api.put("/api/v1/drives/S1/outcome", {"actions": [action], "takes_effect": "with the next training"}, 201)
    said = shown(api, capsys, "outcome", "S1", "failed", "--day", "2026-11-22")
    assert said == ["S1: failed on 2026-11-22", "with the next training"]
    assert api.posted == [("/api/v1/drives/S1/outcome", {"outcome": "failed", "note": "", "day": "2026-11-22"})]


def test_a_refusal_is_one_message_with_the_nearest_name(api: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    problem = {"detail": "unknown drive 'S9'", "nearest": "S1", "status": 404}
    api.put("/api/v1/drives/S9/acknowledge", problem, 404)
    assert main(["drives", "acknowledge", "S9", "--url", api.url]) == 1
    assert "unknown drive 'S9'; did you mean S1?" in capsys.readouterr().err


def test_what_the_shadow_says_and_what_is_muted_are_shown_apart(
    api: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    shadow = {"digest": "sha256:8d5f0c2b7a11e94f00", "probability_7d": None, "probability_30d": 0.02}
    detail = {**DETAIL, "shadow": shadow, "muted": ["crc_total", "wear"], "wear": {**WEAR, "basis": "life"}}
    DriveDetail.model_validate(detail)
    api.put("/api/v1/drives/S1", detail)
    lines = shown(api, capsys, "show", "S1")
    place = lines.index("muted: crc_total, wear; `tailwatch drives mutes` says by whom")
    assert lines[place - 1] == (
        "in the shadow, counts for nothing: - within 7 days, 2.0% within 30 days, by model sha256:8d5f0c2b7a11"
    )
    assert any(line.endswith("by its whole life)") for line in lines)


def test_firmware_is_a_column_and_narrows_the_list(api: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    api.put("/api/v1/drives", page(DRIVE))
    header, line = shown(api, capsys, "--firmware", "EXM02")
    assert line[header.index("firmware") :].split()[0] == "EXM02"
    assert ("firmware", "EXM02") in api.asked[0][1]


MUTE: dict[str, Any] = {**ACTION, "kind": "mute", "cause": None, "column": "crc_total", "level": None}
OF_MODEL: dict[str, Any] = {**MUTE, "drive": None, "model": "SSD 850 PRO", "until": None, "until_ns": None, "note": ""}
OF_FLEET: dict[str, Any] = {**OF_MODEL, "model": None}


@pytest.mark.parametrize(
    ("which", "path", "action", "more", "about"),
    [
        (["--drive", "S/1"], "/api/v1/drives/S%2F1/mute", {**MUTE, "drive": "S/1"}, {}, "S/1"),
        (["--model", "SSD 850 PRO"], "/api/v1/drives/mute", OF_MODEL, {"model": "SSD 850 PRO"},
         "drives of model SSD 850 PRO"),
        (["--fleet"], "/api/v1/drives/mute", OF_FLEET, {}, "all drives"),
    ],
)  # fmt: skip
def test_a_column_is_muted_and_taken_back_where_it_is_said(
    which: list[str],
    path: str,
    action: dict[str, Any],
    more: dict[str, str],
    about: str,
    api: StandIn,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer = {"actions": [action], "takes_effect": "at once"}
    ActionsAnswer.model_validate(answer)
    api.put(path, answer, 201)
    until = action["until"] or "it is taken back"
    said = shown(api, capsys, "mute", "crc_total", *which, "--until", "now+30d", "--note", "a cable")
    assert said == [f"{about}: crc_total muted until {until}", "at once"]
    assert api.posted == [(path, {"column": "crc_total", "note": "a cable", "until": "now+30d", **more})]
    assert shown(api, capsys, "unmute", "crc_total", *which)[0] == f"{about}: crc_total no longer muted"
    shown(api, capsys, "unmute", *which)
    assert api.deleted == [(path, [("column", "crc_total"), *more.items()]), (path, [*more.items()])]


@pytest.mark.parametrize("words", [["mute", "crc_total"], ["unmute"], ["mute", "wear", "--fleet", "--drive", "S1"]])
def test_of_which_drives_has_to_be_said(words: list[str], api: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["drives", *words, "--url", api.url])
    assert "--drive" in capsys.readouterr().err
    assert api.asked == []


def test_all_that_is_muted_is_listed_page_by_page(
    api: StandIn, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    last: dict[str, Any] = {"mutes": [OF_FLEET], "next_cursor": None}
    first: dict[str, Any] = {"mutes": [MUTE, OF_MODEL], "next_cursor": "Mg"}
    MutesPage.model_validate(first)
    answers = iter([first, last, first, last, {"mutes": [], "next_cursor": None}])
    asked: list[Any] = []

    def answered(_url: str, path: str, parameters: Any) -> Any:
        asked.append((path, list(parameters)))
        return next(answers)

    monkeypatch.setattr("tailwatch.commands.drives_mute.get", answered)
    lines = shown(api, capsys, "mutes")
    assert [line.split("  ")[1].strip() for line in lines[1:]] == ["S1", "drives of model SSD 850 PRO", "all drives"]
    assert lines[0].split() == ["column", "of", "until", "who", "since", "note"]
    assert asked == [("/api/v1/drives/mute", []), ("/api/v1/drives/mute", [("cursor", "Mg")])]
    assert len(json.loads("\n".join(shown(api, capsys, "mutes", "--output", "json")))["mutes"]) == 3
    assert shown(api, capsys, "mutes") == ["nothing is muted"]


def test_an_acknowledgement_is_taken_back(api: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    api.put("/api/v1/drives/S1/acknowledge", {"actions": [ACTION], "takes_effect": "at once"})
    assert shown(api, capsys, "unacknowledge", "S1") == ["S1: probability no longer acknowledged", "at once"]
    shown(api, capsys, "unacknowledge", "S1", "--cause", "probability")
    path = "/api/v1/drives/S1/acknowledge"
    assert api.deleted == [(path, []), (path, [("cause", "probability")])]


def test_a_rated_life_that_is_over_has_no_day_on_which_it_will_be(
    api: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    worn: dict[str, Any] = {**DRIVE, "wear_used_percent": 158.0, "wear_ends": "2026-11-22"}
    api.put("/api/v1/drives", page(worn))
    header, line = shown(api, capsys)
    assert line[header.index("life ends") :].startswith("used up")
    wear = {**WEAR, "used_percent": 158.0, "ends": "2026-11-22"}
    api.put("/api/v1/drives/S1", {**DETAIL, **worn, "wear": wear})
    assert "  158 % of the rated life used: it is used up" in shown(api, capsys, "show", "S1")


def test_a_serial_number_does_not_steer_the_terminal(api: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    api.put("/api/v1/drives", page({**DRIVE, "drive": "S\x1b]0;mine\x07\n\xe9"}))
    header, line = shown(api, capsys)
    assert line.isprintable()
    assert line[header.index("serial") :].split()[0] == "S\\x1b]0;mine\\x07\\n\xe9"
    api.put("/api/v1/drives/S1", {**DETAIL, "drive": "S1\x1b[2J"})
    assert shown(api, capsys, "show", "S1")[0] == "S1\\x1b[2J: replace since 2026-11-20"


def test_what_operators_said_is_shown_with_their_notes(api: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    """A note is for whoever looks at the drive next, and that is who shows it."""
    failed = {**ACTION, "kind": "outcome", "cause": None, "outcome": "failed", "day": "2026-11-21", "note": ""}
    back = {**ACTION, "ended": "2026-11-23T01:00:00Z", "ended_ns": 3}
    detail = {**DETAIL, "actions": [failed, MUTE, OF_MODEL, {**OF_FLEET, "column": "wear"}, back]}
    DriveDetail.model_validate(detail)
    api.put("/api/v1/drives/S1", detail)
    lines = shown(api, capsys, "show", "S1")
    start = lines.index("said") + 1
    assert lines[start : start + 5] == [
        "  2026-11-22 oncall: failed on 2026-11-21",
        "  2026-11-22 oncall: crc_total muted until 2026-12-22T07:00:00Z: ordered",
        "  2026-11-22 oncall: crc_total muted until it is taken back on drives of model SSD 850 PRO",
        "  2026-11-22 oncall: wear muted until it is taken back on all drives",
        "  2026-11-22 oncall: probability acknowledged until 2026-12-22T07:00:00Z (ended 2026-11-23): ordered",
    ]
