"""What Alertmanager sends, with the role's configuration: few messages, in words, at the right hour."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from fixtures.mail_sink import mails, serve, text_of, wait_for
from fixtures.message_receivers import NTFY_MOST_BYTES, as_ntfy_shows, awaited, path_of, ways
from fixtures.monitoring_content import MONITORING, alerts, filled_in
from fixtures.ports import free_port

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus-alertmanager") is None, reason="Alertmanager is not installed here"
)
NEVER_QUIET: dict[str, Any] = {
    "monitoring_quiet_days": [],
    "monitoring_quiet_from": "00:00",
    "monitoring_quiet_to": "00:00",
}
ALL_DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
# Longer than a group's wait in these tests: what would come has come.
SETTLED_SECONDS = 3.0
PATIENCE_SECONDS = 40.0


@dataclass
class Told:
    """A running Alertmanager and the mail that it sends."""

    port: int
    folder: Path

    def alert(self, *names: str, **labels: str) -> None:
        """Have it told by Prometheus that these alerts fire."""
        self.send(
            [
                {
                    "labels": {"alertname": name, "site": "Hospital"} | alerts()[name]["labels"] | labels,
                    "annotations": alerts()[name]["annotations"],
                }
                for name in names
            ]
        )

    def send(self, body: list[dict[str, Any]]) -> None:
        """Post alerts as Prometheus does."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("POST", "/api/v2/alerts", json.dumps(body), {"Content-Type": "application/json"})
        assert connection.getresponse().status == 200
        connection.close()

    def end(self, name: str, **labels: str) -> None:
        """Have it told that this alert is over."""
        labels = {"alertname": name, "site": "Hospital"} | alerts()[name]["labels"] | labels
        over = datetime.now(UTC).isoformat()
        self.send([{"labels": labels, "annotations": alerts()[name]["annotations"], "endsAt": over}])

    def subjects(self, least: int = 1) -> list[str]:
        """Return what has come once there is so much, and nothing more is to come."""
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while len(mails(self.folder)) < least and time.monotonic() < give_up_at:
            time.sleep(0.1)
        time.sleep(SETTLED_SECONDS)
        return [str(mail["Subject"]) for mail in mails(self.folder)]


@contextmanager
def alertmanager(folder: Path, *, telegram: str = "", **written: Any) -> Iterator[Told]:
    """Run Alertmanager with the role's configuration, its waits a second long and its mail kept."""
    mail_port, port = free_port(), free_port()
    config = filled_in(folder, **written) / "alertmanager.yml"
    for name, secret in json.loads((folder / "secrets.json").read_text()).items():
        (folder / name).write_text(secret)
    text = config.read_text().replace("/run/credentials/prometheus-alertmanager.service", str(folder))
    for old, new in (
        ("/etc/prometheus/messages.tmpl", str(MONITORING / "alertmanager/messages.tmpl")),
        ("smtp.chilecito.test:587", f"127.0.0.1:{mail_port}"),
        ("require_tls: true", "require_tls: false"),
        ("group_wait: 30s", "group_wait: 1s"),
        ("group_interval: 5m", "group_interval: 1s"),
    ):
        assert old in text
        text = text.replace(old, new)
    if telegram:
        text = text.replace("- bot_token_file:", f"- api_url: {telegram}\n        bot_token_file:")
    config.write_text(text)
    inbox = folder / "mail"
    inbox.mkdir()
    with serve("127.0.0.1", mail_port, inbox) as sink:
        threading.Thread(target=sink.serve_forever, daemon=True).start()
        process = subprocess.Popen(
            [
                "prometheus-alertmanager",
                f"--config.file={config}",
                f"--storage.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
            ],
            stderr=(folder / "log").open("w"),
        )
        try:
            _wait(port, folder / "log")
            yield Told(port, inbox)
        finally:
            process.terminate()
            process.wait()
            sink.shutdown()


def _wait(port: int, log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=2).close()
        except OSError:
            if time.monotonic() > deadline:
                raise TimeoutError(log.read_text()) from None
            time.sleep(0.1)
        else:
            return


def starts(words: str) -> Callable[[str], bool]:
    """Return whether a mail's subject starts with these words."""
    return lambda text: text.startswith(words)


@pytest.mark.parametrize(
    ("language", "urgent", "resolved"),
    [
        ("es", "URGENTE: El archivo (Orthanc) está parado", "Resuelto"),
        ("pt", "URGENTE: O arquivo (Orthanc) está parado", "Resolvido"),
        ("en", "URGENT: The archive (Orthanc) stands still", "Resolved"),
    ],
)
def test_mail_says_what_is_wrong_what_to_do_and_when_it_is_over(
    tmp_path: Path, language: str, urgent: str, resolved: str
) -> None:
    """In the site's language: the sentence as subject, the action, the runbook; and the end."""
    with alertmanager(tmp_path, monitoring_language=language) as told:
        told.alert("ArchiveDown")
        text = wait_for(told.folder, starts(urgent), 20)
        over = {"endsAt": "2020-01-01T00:00:00Z", "startsAt": "2019-12-31T00:00:00Z"}
        labels = {"alertname": "ArchiveDown", "site": "Hospital"} | alerts()["ArchiveDown"]["labels"]
        told.send([{"labels": labels, "annotations": alerts()["ArchiveDown"]["annotations"], **over}])
        wait_for(told.folder, starts(resolved), 20)

    assert alerts()["ArchiveDown"]["annotations"][f"action_{language}"] in " ".join(text.split())
    assert "pacs-runbook ArchiveDown" in text


def test_broken_link_is_one_message_not_forty(tmp_path: Path) -> None:
    """What depends on the link is held back while the link is what fails."""
    with alertmanager(tmp_path, **NEVER_QUIET) as told:
        told.alert("LanLinkDown", device="eth0")
        wait_for(told.folder, lambda text: "eth0" in text or "enlace" in text, 20)
        for number in range(40):
            told.alert("ModalitySilent", station=f"CT{number}")
        told.alert("MessagesNotDelivered", "HisFeedSilent")

        assert len(told.subjects()) == 1


def test_closed_vpn_is_told_once(tmp_path: Path) -> None:
    """What is looked at as VPN clients see it fails with the VPN; what the LAN sees does not, and is told."""
    with alertmanager(tmp_path, **NEVER_QUIET) as told:
        told.alert("VpnDown")
        wait_for(told.folder, lambda text: "VPN" in text, 20)
        told.alert("NameServiceWrong", instance="pacs.test (VPN)")
        told.alert("WebPageUnreachable", instance="https://pacs.test/ (VPN)")
        assert len(told.subjects()) == 1
        told.alert("WebPageUnreachable", instance="https://pacs.test/")

        assert len(told.subjects(2)) == 2


def test_forty_devices_are_one_message(tmp_path: Path) -> None:
    """Alerts of one kind come together."""
    with alertmanager(tmp_path, **NEVER_QUIET) as told:
        for number in range(40):
            told.alert("ModalitySilent", station=f"CT{number}")

        assert len(told.subjects()) <= 2
        assert any("CT1" in text_of(mail) or len(text_of(mail)) > 4000 for mail in mails(told.folder))


def test_only_the_urgent_comes_in_quiet_hours(tmp_path: Path) -> None:
    """At night and on Sundays a warning waits; what is critical does not; the watchdog is nobody's mail."""
    with alertmanager(tmp_path, monitoring_quiet_days=ALL_DAYS) as told:
        told.alert("DiskFullSoon", mountpoint="/")
        told.alert("Watchdog")
        told.alert("DiskFailing", device="sda")

        assert [subject.partition(":")[0] for subject in told.subjects()] == ["URGENTE"]


def test_each_way_is_told_and_told_of_the_end(tmp_path: Path) -> None:
    """Webhook, Telegram and ntfy get what mail gets, as each of them reads it; who waits for calls gets those alone."""
    with ways() as (address, came):
        written = NEVER_QUIET | {
            "monitoring_webhooks": [f"{address}/tickets?key=1"],
            "monitoring_telegram_token": "1:a",
            "monitoring_telegram_chat": -5,
            "monitoring_ntfy": f"{address}/topic",
            "monitoring_dead_mans_switch": f"{address}/alive",
            "monitoring_language": "en",
        }
        with alertmanager(tmp_path, telegram=address, **written) as told:
            told.alert("ArchiveDown")
            told.alert("Watchdog")
            ticket = awaited(came, "/tickets?key=1")
            message = awaited(came, "/bot1:a/sendMessage")
            (topic,) = path_of(came, "/topic")
            assert awaited(came, "/alive")["commonLabels"]["alertname"] == "Watchdog"
            told.end("ArchiveDown")
            assert awaited(came, "/tickets?key=1", 2)["status"] == "resolved"
            assert "Resolved at" in awaited(came, "/bot1:a/sendMessage", 2)["text"]
            assert awaited(came, topic, 2)["status"] == "resolved"

    assert ticket["status"] == "firing"
    assert ticket["alerts"][0]["annotations"]["action_es"]
    assert int(message["chat_id"]) == -5
    assert "The archive (Orthanc) stands still" in message["text"]
    assert "pacs-runbook ArchiveDown" in message["text"]
    title, said = as_ntfy_shows(topic, came[topic][0])
    assert title == "URGENT: Hospital"
    assert said.startswith("The archive (Orthanc) stands still")
    assert alerts()["ArchiveDown"]["annotations"]["action_en"] in said
    title, said = as_ntfy_shows(topic, came[topic][1])
    assert title == "Resolved: Hospital"
    assert said.startswith("Resolved: The archive (Orthanc) stands still")
    assert {alert["labels"]["alertname"] for one in came["/alive"] for alert in one["alerts"]} == {"Watchdog"}


def test_ntfy_takes_forty_devices(tmp_path: Path) -> None:
    """A message that is too long would be refused, and nobody told: it tells of some, and how many more there are."""
    devices = 40
    with ways() as (address, came):
        written = NEVER_QUIET | {"monitoring_ntfy": f"{address}/topic?auth=QmVhcmVyIHRr", "monitoring_language": "es"}
        with alertmanager(tmp_path, **written) as told:
            name = "Tomógrafo computado de la sala de emergencias del ala norte"
            told.send([_silent(f"CT{number}", name) for number in range(devices)])
            (topic,) = path_of(came, "/topic")
            body = awaited(came, topic)

    title, said = as_ntfy_shows(topic, body)
    assert title == "Aviso: Hospital"
    assert said.count(name) > 1
    assert said.endswith(f"+ {devices - said.count(name)}")
    assert len(said.encode()) <= NTFY_MOST_BYTES
    assert parse_qs(urlsplit(topic).query)["auth"] == ["QmVhcmVyIHRr"]


def _silent(station: str, name: str) -> dict[str, Any]:
    """Return what Prometheus tells of a device that is silent, its sentence made as Prometheus makes it."""
    rule = alerts()["ModalitySilent"]
    start = re.compile(r"{{ with .*?{{ end }}", re.DOTALL)
    words = {
        key: start.sub(f"{name} ({station})", text).replace("{{ $value | humanizeDuration }}", "13h 27m 10s")
        for key, text in rule["annotations"].items()
    }
    labels = {"alertname": "ModalitySilent", "site": "Hospital", "station": station, "name": name} | rule["labels"]
    return {"labels": labels, "annotations": words}


def test_sign_ins_of_each_night_are_told_once_and_have_no_end(tmp_path: Path) -> None:
    """The next night's is a message of its own about itself alone; nobody is told days later that it is over."""
    with alertmanager(tmp_path, **NEVER_QUIET) as told:
        told.alert("SignInAtNight", night="2026-03-02")
        assert len(told.subjects()) == 1
        told.alert("SignInAtNight", night="2026-03-03")
        assert not any("2 avisos" in subject for subject in told.subjects(2))
        told.end("SignInAtNight", night="2026-03-02")
        told.end("SignInAtNight", night="2026-03-03")

        assert len(told.subjects()) == 2


def test_title_names_what_still_holds(tmp_path: Path) -> None:
    """Where one device is well again and another is not, the title is about the other; it says how many there are."""
    with alertmanager(tmp_path, **NEVER_QUIET) as told:
        told.send([_silent("CT1", "Emergency"), _silent("CT2", "Ward")])
        assert " (2 avisos)" in wait_for(told.folder, starts("Emergency (CT1) no manda"), 20)
        told.send([_silent("CT1", "Emergency") | {"endsAt": datetime.now(UTC).isoformat()}])

        text = wait_for(told.folder, starts("Ward (CT2) no manda"), 20)

    assert re.search(r"^Resuelto a las .* Emergency \(CT1\)", text, re.MULTILINE)
