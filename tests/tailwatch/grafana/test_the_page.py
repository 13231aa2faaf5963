"""docs/how-to/from-zero-to-a-grafana-alert.md, gone through as it stands, with a fake in the place of Grafana."""

import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tailwatch.cli import main
from tests.architecture.project import page
from tests.counterparts.fake_grafana import ADMIN, serving

PAGE = page("how-to/from-zero-to-a-grafana-alert.md")


class Terminal(io.StringIO):
    """Somebody who has typed this."""

    def isatty(self) -> bool:
        return True


def test_the_page_leads_to_an_alert_and_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grafana.password").write_text(f"{ADMIN[1]}\n")
    ((name, config),) = re.findall(r"^File `([\w.-]+)`.*?^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    commands = re.findall(r"^    ((?:tailwatch (?:config|grafana)|sed) .*)$", PAGE, re.MULTILINE)
    assert len(commands) == 7
    titles, codes = [], []
    with serving() as fake:
        assert "url: http://127.0.0.1:3000 " in config
        (tmp_path / name).write_text(config.replace("http://127.0.0.1:3000", fake.url))
        for command in commands:
            words = shlex.split(command)
            if words[0] == "sed":
                subprocess.run(words, check=True)
                continue
            monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
            codes.append(main(words[1:]))
            titles.append({rule["title"] for rule in fake.org.rules.values()})
        assert main(["grafana", "apply", "--config", name]) == 0  # what it says of a second time
    said = capsys.readouterr().out
    assert codes == [0, 1, 0, 0, 0]  # diff says by its code that something is to be done
    assert said.count("Write this? [y/N]") == 1
    assert said.rstrip().endswith("objects are as wanted")
    fires = re.search(r"`(hiccup_us: p99 above 20 us, fast burn)`", PAGE)
    assert fires
    assert [fires[1] in seen for seen in titles] == [False, False, False, True, False]
    assert "hiccup_us: p99 above 10 ms, fast burn" in titles[-1]


def test_a_no_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILWATCH_GRAFANA_TOKEN", "glsa_admin")
    with serving() as fake:
        for answer in ("n\n", "\n", ""):
            monkeypatch.setattr(sys, "stdin", Terminal(answer))
            assert main(["grafana", "apply", "--url", fake.url]) == 1
        assert fake.writes() == []
