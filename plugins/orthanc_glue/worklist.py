"""The modality worklist behind Orthanc's DICOM port: decodes questions, encodes answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

from pydicom import Dataset

from orthanc_glue.callbacks import Callbacks
from pacs.errors import PacsError
from pacs.metrics import Metrics
from pacs.native.worklist_answers import expect_answers_in, items_not_compared, wrapped
from pacs.worklist.questions import as_file, read_question

_log = logging.getLogger(__name__)

# Of pacs.worklist.Worklist.
type Find = Callable[..., Iterator[Dataset]]


class WorklistRefusal(Exception):
    """Raised into Orthanc, whose Python plugin makes the status 0xC000 (Unable to process) of it."""


class WorklistProvider:
    """Answers each C-FIND of the worklist. Orthanc has checked that the station may ask, and asks one at a time."""

    def __init__(self, find: Find, metrics: Metrics) -> None:
        self._find = find
        self._metrics = metrics
        self._questions = metrics.counter(
            "pacs_worklist_questions_total", "Questions of modalities for their worklist.", ("aet", "outcome")
        )

    def register(self, callbacks: Callbacks) -> None:
        """Stand behind Orthanc's worklist service."""
        callbacks.worklist(self._answer)

    def _answer(self, answers: Any, query: Any, calling_aet: str, _called_aet: str) -> None:
        """Answer a question whole or, by raising, not at all: a short list would pass for the whole."""
        try:
            question = read_question(query.WorklistGetDicomQuery())
            with items_not_compared(wrapped(query), question):
                for count, answer in enumerate(self._find(question, calling_aet=calling_aet)):
                    expect_answers_in(wrapped(answers), answer.SpecificCharacterSet, count=count)
                    answers.WorklistAddAnswer(query, as_file(answer))
        except PacsError as error:
            self._metrics.count_error(error)
            _log.warning("the question of %s for its worklist was refused: %s", calling_aet, error)
            self._questions.labels(calling_aet, "refused").inc()
            raise WorklistRefusal from None
        except Exception as error:  # noqa: BLE001 - the edge of a callback
            self._metrics.count_error(error)
            _log.exception("the question of %s for its worklist could not be answered", calling_aet)
            self._questions.labels(calling_aet, "failed").inc()
            raise WorklistRefusal from None
        self._questions.labels(calling_aet, "answered").inc()
