"""What people and other systems are told: mails and webhooks. Nothing of the patient unless a template names it."""

from __future__ import annotations

import hashlib
import hmac
import json
import smtplib
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from http import HTTPStatus
from typing import Any

import httpx
from jinja2 import ChainableUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from pacs.errors import NotFound
from pacs.ports import Archive
from pacs.routing.actions.orders import TaskOrder, Tasks
from pacs.routing.actions.settings import NotifySettings
from pacs.studies.dicom_values import text
from pacs.work import Reject, Retry

type Secrets = Callable[[str], str | None]

SIGNATURE_HEADER = "Pacs-Signature"
_SUBJECT = "PACS: {{ rule }}"
_TEXT = """Rule: {{ rule }}
Study: {{ AccessionNumber or StudyInstanceUID }} ({{ modalities }}), {{ StudyDate }}
{{ link }}
"""
_ANSWER_SECONDS = 15.0
_LONGEST_SUBJECT = 200
_TRY_AGAIN = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
_TEMPLATES = SandboxedEnvironment(autoescape=False, undefined=ChainableUndefined)


@dataclass(frozen=True)
class _Told:
    """What templates may name: `rule`, `link`, `modalities` and what Orthanc keeps of the study."""

    values: Mapping[str, str]

    def written(self, template: str) -> str:
        try:
            return _TEMPLATES.from_string(template).render(self.values)
        except TemplateError as error:
            raise Reject(f"The template can't be filled: {error}. Correct it in the rule.") from error


class NoticeTasks:
    """Handlers of `mail` and `webhook`."""

    def __init__(self, archive: Archive, settings: NotifySettings, secrets: Secrets) -> None:
        self._archive = archive
        self._settings = settings
        self._secrets = secrets

    def register(self, tasks: Tasks) -> None:
        """Have these kinds done here."""
        tasks.register("mail", self.mail)
        tasks.register("webhook", self.webhook)

    # -- mail ----------------------------------------------------------------------------------------------------------

    def mail(self, order: TaskOrder) -> Mapping[str, Any]:
        """Send a mail.

        Raises
        ------
        Reject : there is no server to send it with, or it refuses for good.
        Retry : the server can't be reached or refuses for now.
        """
        if not self._settings.mail_host:
            raise Reject("Mails have no server. Set Pacs.Routing.Notify.MailHost.")
        told = self._told(order)
        message = EmailMessage()
        message["From"], message["To"] = self._settings.mail_from, ", ".join(order.parameters["to"])
        message["Subject"] = " ".join(told.written(order.parameters.get("subject", _SUBJECT)).split())[
            :_LONGEST_SUBJECT
        ]
        message["Date"], message["Message-ID"] = formatdate(localtime=True), make_msgid(domain="pacs.invalid")
        message.set_content(told.written(order.parameters.get("text", _TEXT)))
        try:
            self._send(message)
        except (smtplib.SMTPRecipientsRefused, smtplib.SMTPSenderRefused, smtplib.SMTPAuthenticationError) as error:
            raise Reject(f"The mail server refuses: {error}.") from error
        except (OSError, smtplib.SMTPException) as error:
            raise Retry(f"The mail server {self._settings.mail_host}: {error}.") from error
        return {"mailed": len(order.parameters["to"])}

    def _send(self, message: EmailMessage) -> None:
        settings = self._settings
        context = ssl.create_default_context()
        arguments = (settings.mail_host, settings.mail_port)
        with (
            smtplib.SMTP_SSL(*arguments, timeout=_ANSWER_SECONDS, context=context)
            if settings.mail_encryption == "tls"
            else smtplib.SMTP(*arguments, timeout=_ANSWER_SECONDS)
        ) as server:
            if settings.mail_encryption == "starttls":
                server.starttls(context=context)
            if settings.mail_user:
                server.login(settings.mail_user, self._secrets(settings.mail_password) or "")
            server.send_message(message)

    # -- webhook -------------------------------------------------------------------------------------------------------

    def webhook(self, order: TaskOrder) -> Mapping[str, Any]:
        """Post a notice, signed where the rule names a secret: `Pacs-Signature: t=SECONDS,v1=HMAC-SHA256 of t.body`.

        Raises
        ------
        Reject : it is refused for good, or the secret is missing.
        Retry : nobody answers, or not now.
        """
        body = self._body(order)
        headers = {"Content-Type": "application/json"} | self._signature(order.parameters.get("secret"), body)
        url = order.parameters["url"]
        try:
            answer = httpx.post(url, content=body, headers=headers, timeout=_ANSWER_SECONDS, follow_redirects=False)
        except httpx.HTTPError as error:
            raise Retry(f"{url} does not answer: {error}.") from error
        if answer.status_code in _TRY_AGAIN or answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Retry(f"{url} answers {answer.status_code}.")
        if answer.status_code >= HTTPStatus.MULTIPLE_CHOICES:
            raise Reject(
                f"{url} answers {answer.status_code}. Look at the address, and at what the other side expects."
            )
        return {"status": answer.status_code}

    def _body(self, order: TaskOrder) -> bytes:
        told = self._told(order)
        if "body" in order.parameters:
            return told.written(order.parameters["body"]).encode()
        names = ("rule", "link", "modalities", "AccessionNumber", "StudyInstanceUID", "StudyDate")
        return json.dumps({name: told.values.get(name, "") for name in names}).encode()

    def _signature(self, secret_name: str | None, body: bytes) -> dict[str, str]:
        if secret_name is None:
            return {}
        secret = self._secrets(secret_name)
        if not secret:
            raise Reject(f'The secret "{secret_name}" is not there. Give it to the service as a credential.')
        at = str(int(time.time()))
        digest = hmac.new(secret.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
        return {SIGNATURE_HEADER: f"t={at},v1={digest}"}

    def _told(self, order: TaskOrder) -> _Told:
        """Return what templates may name. Raise Reject when the study is gone."""
        try:
            study = self._archive.get_json(f"/studies/{order.orthanc_study_id}")
            series = self._archive.get_json(f"/studies/{order.orthanc_study_id}/series")
        except NotFound as error:
            raise Reject("The study is not in the archive any more.") from error
        modalities = sorted({text(one["MainDicomTags"].get("Modality")) for one in series} - {""})
        base = self._settings.public_url.rstrip("/")
        values = {
            key: text(value) for part in ("PatientMainDicomTags", "MainDicomTags") for key, value in study[part].items()
        }
        own = {
            "rule": order.rule,
            "modalities": ", ".join(modalities),
            "link": f"{base}/pacs/studies/{order.study_instance_uid}" if base else "",
        }
        return _Told(values | own)
