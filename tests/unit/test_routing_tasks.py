"""What rules have done beside deliveries: once, signed, and with nothing of the patient unless it is asked for."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any
from unittest.mock import Mock

import pytest

from fakes.archive import MemoryArchive
from pacs.database import Database
from pacs.errors import NotFound
from pacs.mesh.errors import MeshTooLarge
from pacs.mesh.jobs.service import TooManyWaiting
from pacs.metrics import Metrics
from pacs.processes import ProcessFailed, ProcessTimeout
from pacs.routing.actions.archive import ArchiveTasks
from pacs.routing.actions.models import ModelTasks
from pacs.routing.actions.notices import SIGNATURE_HEADER, NoticeTasks
from pacs.routing.actions.orders import TaskOrder, Tasks
from pacs.routing.actions.settings import NotifySettings
from pacs.routing.rules.figures import RuleFigures
from pacs.routing.rules.ruleset import Subject
from pacs.routing.rules.tasks import Task
from pacs.work import GiveBack, QueueWorker, Reject, Retry, WorkState

SUBJECT = Subject("study-1", "1.2.3")
ANSWERS = {
    "/studies/study-1": {
        "PatientMainDicomTags": {"PatientName": "Secreta^Ana", "PatientID": "77"},
        "MainDicomTags": {"AccessionNumber": "A-1", "StudyInstanceUID": "1.2.3", "StudyDate": "20261122"},
    },
    "/studies/study-1/series": [{"MainDicomTags": {"Modality": "CT"}}],
}


def order(kind: str, **parameters: Any) -> TaskOrder:
    """Return something to do with the study."""
    return TaskOrder(kind, "A rule", "study-1", "1.2.3", None, parameters)


class Hook(BaseHTTPRequestHandler):
    """Keeps what is posted, answers what the path says."""

    def do_POST(self) -> None:
        """Take what is posted."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken.append((self.headers.get(SIGNATURE_HEADER), body))  # type: ignore[attr-defined]
        self.send_response(int(self.path.strip("/")))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the standard library's name)
        """Stay silent."""


class Smtp(StreamRequestHandler):
    """A server of mails as small as can be (RFC 5321); refuses whoever has "nobody" in the name."""

    def handle(self) -> None:
        """Talk with one client."""
        self._say("220 test")
        while line := self.rfile.readline().decode().strip():
            verb = line[:4].upper()
            if verb == "DATA":
                self._say("354 go on")
                self.server.taken.append(self._mail())  # type: ignore[attr-defined]
            self._say("550 nobody here" if "nobody" in line else "221 bye" if verb == "QUIT" else "250 fine")
            if verb == "QUIT":
                return

    def _mail(self) -> str:
        lines = []
        while (line := self.rfile.readline().decode()) != ".\r\n":
            lines.append(line)
        return "".join(lines)

    def _say(self, words: str) -> None:
        self.wfile.write(f"{words}\r\n".encode())


@pytest.fixture
def hook() -> Iterator[Any]:
    """Run a server that takes webhooks."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        server.taken = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def smtp() -> Iterator[Any]:
    """Run a server that takes mails."""
    with ThreadingTCPServer(("127.0.0.1", 0), Smtp) as server:
        server.taken = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def notices(port: int = 0, host: str = "127.0.0.1") -> NoticeTasks:
    """Return what tells people."""
    settings = NotifySettings.model_validate(
        {"MailHost": host, "MailPort": port or 1, "MailEncryption": "none", "PublicUrl": "https://pacs.example/"}
    )
    return NoticeTasks(MemoryArchive(answers=dict(ANSWERS)), settings, {"hook": "geheim"}.get)


def test_webhook_is_signed_and_names_no_patient(hook: Any) -> None:
    """Whoever has the secret can tell that it is ours and when it was sent; the patient is not in it."""
    url = f"http://127.0.0.1:{hook.server_port}/204"
    assert notices().webhook(order("webhook", url=url, secret="hook")) == {"status": 204}  # noqa: S106 (its name)
    ((signature, body),) = hook.taken
    at, digest = (part.partition("=")[2] for part in signature.split(","))
    assert digest == hmac.new(b"geheim", at.encode() + b"." + body, hashlib.sha256).hexdigest()
    told = json.loads(body)
    assert (told["rule"], told["AccessionNumber"], told["modalities"]) == ("A rule", "A-1", "CT")
    assert told["link"] == "https://pacs.example/pacs/studies/1.2.3"
    assert b"Secreta" not in body


@pytest.mark.parametrize(
    ("status", "outcome"), [(500, Retry), (503, Retry), (429, Retry), (404, Reject), (301, Reject)]
)
def test_webhook_that_is_not_taken_waits_or_is_given_up(hook: Any, status: int, outcome: type[Exception]) -> None:
    """What may pass is tried again; what will not is a dead letter with the answer; nobody is led elsewhere."""
    with pytest.raises(outcome, match=str(status)):
        notices().webhook(order("webhook", url=f"http://127.0.0.1:{hook.server_port}/{status}"))


def test_webhook_without_its_secret_is_not_sent(hook: Any) -> None:
    """A missing credential is told; nothing leaves unsigned."""
    with pytest.raises(Reject, match="credential"):
        notices().webhook(order("webhook", url=f"http://127.0.0.1:{hook.server_port}/200", secret="gone"))  # noqa: S106
    assert hook.taken == []


def test_mail_is_sent_with_its_template(smtp: Any) -> None:
    """The text is filled in; a patient's name is in it only because the template asks for it."""
    text = "{{ PatientName }} {{ modalities }} {{ NothingLikeIt }}"
    notices(smtp.server_address[1]).mail(
        order("mail", to=["a@b.example", "c@d.example"], subject="{{ rule }}\n!", text=text)
    )
    notices(smtp.server_address[1]).mail(order("mail", to=["a@b.example"]))
    asked, plain = smtp.taken
    assert "Subject: A rule !" in asked
    assert "Secreta^Ana CT" in asked
    assert "Secreta" not in plain
    assert "https://pacs.example/pacs/studies/1.2.3" in plain


def test_mail_that_is_refused_or_has_no_server_is_told(smtp: Any) -> None:
    """A refusal for good is a dead letter, a server that is away waits, none at all says which setting."""
    with pytest.raises(Reject, match="nobody here"):
        notices(smtp.server_address[1]).mail(order("mail", to=["nobody@b.example"]))
    with pytest.raises(Retry):
        notices().mail(order("mail", to=["a@b.example"]))
    with pytest.raises(Reject, match="MailHost"):
        notices(host="").mail(order("mail", to=["a@b.example"]))


def test_template_reaches_nothing_of_the_program(smtp: Any) -> None:
    """A template that digs for objects finds nothing, and one that calls what it must not is refused."""
    notices(smtp.server_address[1]).mail(order("mail", to=["a@b.example"], text="<{{ rule.__class__.__mro__ }}>"))
    assert "<>" in smtp.taken[0]
    with pytest.raises(Reject, match="template"):
        notices(smtp.server_address[1]).mail(order("mail", to=["a@b.example"], text="{{ rule.format.__call__('') }}"))


def test_study_that_is_gone_is_left_alone() -> None:
    """Labels of a study that was deleted meanwhile are no fault."""
    gone = MemoryArchive()
    gone.delete = Mock(side_effect=NotFound("gone"))  # type: ignore[method-assign]
    assert ArchiveTasks(gone).unlabel(order("unlabel", labels=["new"])) == {"labelled": False}


def test_task_is_done_once_an_occasion(tmp_path: Path) -> None:
    """A late image makes the study stable again: what was done is not done twice; by hand it is."""
    with Database(f"sqlite:///{tmp_path}/pacs.db") as database:
        database.migrate()
        tasks, task = Tasks(database, RuleFigures(Metrics("1.2.3"))), Task("mail", {"to": ["a@b.example"]})
        for occasion in ("study stable once", "study stable once", "", ""):
            with database.session(write=True) as session:
                tasks.put(session, SUBJECT, "A rule", task, occasion=occasion)
        assert tasks.queue.counts()[WorkState.RECEIVED] + tasks.queue.counts()[WorkState.BLOCKED] == 3


@pytest.mark.parametrize(
    ("fault", "days", "failed"),
    [(Reject("no"), 0, 1), (Retry("later"), 1, 0), (Retry("later"), 4, 1), (GiveBack(), 4, 0)],
)
def test_task_that_is_given_up_is_counted_with_its_rule(
    tmp_path: Path, fault: Exception, days: int, failed: int
) -> None:
    """At once or after days of trying, it is a dead letter, and counted; not one that is tried again."""
    metrics = Metrics("1.2.3")
    with Database(f"sqlite:///{tmp_path}/pacs.db") as database:
        database.migrate()
        tasks = Tasks(database, RuleFigures(metrics))
        tasks.register("mail", Mock(side_effect=fault))
        with database.session(write=True) as session:
            tasks.put(session, SUBJECT, "Trauma at night", Task("mail", {}))
        tasks.queue.clock = lambda: datetime.now(UTC) + timedelta(days=days)
        worker = QueueWorker(tasks.queue, tasks.work)
        worker.work(tasks.queue.claim()[0])
        assert tasks.queue.counts()[WorkState.FAILED] == failed
    name, labels = "pacs_routing_rule_failed_total", {"rule": "trauma-at-night", "kind": "mail"}
    assert (metrics.registry.get_sample_value(name, labels) or 0) == failed


def refused(code: str, status: int) -> ProcessFailed:
    """Return what a child raised that refused a series, as the pool raises it."""
    error = ProcessFailed("pacs.mesh.jobs.child:look", type_name="MeshError", text="")
    error.speak_as(code, status, "All images are localizers.", "Choose another series.")
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (refused("mesh-localizers", 422), Reject),
        (refused("mesh-several-volumes", 409), Reject),
        (MeshTooLarge("It needs more memory than there is."), Reject),
        (NotFound("The series is gone."), Reject),
        (TooManyWaiting("Many jobs wait."), TooManyWaiting),
        (ProcessFailed("pacs.mesh.jobs.child:look", type_name="KeyError", text=""), ProcessFailed),
        (ProcessTimeout("pacs.mesh.jobs.child:look", wall_seconds=120), ProcessTimeout),
    ],
    ids=lambda value: getattr(value, "code", None),
)
def test_series_without_a_volume_is_not_tried_again(error: Exception, expected: type[Exception]) -> None:
    """What the series is not stays so; a full queue and a child that failed are tried again."""
    models, tasks = Mock(), Mock()
    models.order.side_effect = error
    ModelTasks(MemoryArchive(), models).register(tasks)
    handler = tasks.register.call_args.args[1]
    with pytest.raises(expected):
        handler(TaskOrder("model", "A rule", "study-1", "1.2.3", "series-1", {"presets": ["bone"]}))
