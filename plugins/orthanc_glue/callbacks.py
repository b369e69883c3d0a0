"""The one owner of Orthanc's single callbacks: Orthanc takes one of each for the process, capabilities subscribe."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from types import ModuleType

from pacs.native.received_instances import Judge, judge_received_instances
from pacs.native.thread_state import keeping_the_thread
from pacs.native.transcoder import Transcode, register_transcoder
from pacs.ports import Change, ChangeKind, ChangeListener, ResourceLevel

_log = logging.getLogger(__name__)


class Callbacks:
    """Registers with Orthanc and hands on what it tells.

    Orthanc tells changes in a thread of its own. A listener must only note them and return: one that asks Orthanc's
    REST API from there can wait for itself.
    """

    def __init__(self, orthanc: ModuleType) -> None:
        self._orthanc = orthanc
        self._taken: set[str] = set()
        self._start: list[Callable[[], None]] = []
        self._stop: list[Callable[[], None]] = []
        self._listeners: list[ChangeListener] = []
        change_type, resource_type = orthanc.ChangeType, orthanc.ResourceType
        self._started, self._stopped = change_type.ORTHANC_STARTED, change_type.ORTHANC_STOPPED
        # Python spells them NEW_STUDY, Orthanc's REST API NewStudy: ours carry both as name and value.
        self._kinds = {getattr(change_type, kind.name): kind for kind in ChangeKind}
        self._levels = {getattr(resource_type, level.name): level for level in ResourceLevel}
        orthanc.RegisterOnChangeCallback(keeping_the_thread(self._on_change))

    def on_start(self, action: Callable[[], None]) -> None:
        """Run `action` when Orthanc answers requests."""
        self._start.append(action)

    def on_stop(self, action: Callable[[], None]) -> None:
        """Run `action` when Orthanc is about to end; it waits for it."""
        self._stop.append(action)

    def on_change(self, listener: ChangeListener) -> None:
        """Tell `listener` of every change of a kind that the core knows."""
        self._listeners.append(listener)

    def filter_c_store(self, judge: Callable[..., int]) -> None:
        """Have `judge(instance)` decide by a DICOM status whether an instance sent by C-STORE is taken."""
        self._take("C-STORE filter")
        self._orthanc.RegisterIncomingCStoreInstanceFilter(keeping_the_thread(judge))

    def filter_received(self, judge: Judge) -> None:
        """Have `judge(dicom, origin)` decide whether an instance is kept, whichever way it came."""
        self._take("received instance filter")
        judge = keeping_the_thread(judge)
        if not judge_received_instances(judge):
            action = self._orthanc.ReceivedInstanceAction
            self._orthanc.RegisterReceivedInstanceCallback(
                lambda dicom, origin: (action.KEEP_AS_IS if judge(dicom, origin) else action.DISCARD, None)
            )

    def filter_http(self, admits: Callable[..., bool]) -> None:
        """Have `admits(path, **request)` decide whether a request over HTTP is answered; every one waits for it."""
        self._take("HTTP filter")
        self._orthanc.RegisterIncomingHttpRequestFilter(keeping_the_thread(admits))

    def worklist(self, answer: Callable[..., None]) -> None:
        """Have `answer(answers, query, calling_aet, called_aet)` answer each C-FIND of the modality worklist.

        Here alone raising has a meaning: the station gets a failure status instead of the answers so far.
        """
        self._take("worklist")
        self._orthanc.RegisterWorklistCallback(keeping_the_thread(answer))

    def transcode(self, transcode: Transcode) -> None:
        """Have `transcode(dicom, syntaxes)` asked for images that somebody wants in another transfer syntax.

        It may be called with Orthanc's locks held: it must not ask Orthanc anything.
        """
        self._take("transcoder")
        register_transcoder(transcode)

    def route(self, pattern: str, answer: Callable[..., None]) -> None:
        """Have `answer(output, uri, **request)` answer a path of Orthanc's REST API, in its stead where it has one."""
        # The Python plugin (5.0) lets go of it after Python has ended, which would end Orthanc with a segmentation
        # fault at its stop. One reference more, and it is never taken apart.
        kept = keeping_the_thread(answer)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))
        self._orthanc.RegisterRestCallback(pattern, kept)

    def _take(self, name: str) -> None:
        """Refuse a second owner: Orthanc would forget the first without a word."""
        if name in self._taken:
            message = f"The {name} has an owner already: let that one ask the other."
            raise ValueError(message)
        self._taken.add(name)

    def _on_change(self, change_type: int, level: int, resource_id: str) -> None:
        """Take one change from Orthanc. Nothing may be raised into it: a fault ends here, in the log."""
        try:
            if change_type == self._started:
                self._run(self._start)
            elif change_type == self._stopped:
                self._run(self._stop)
            elif kind := self._kinds.get(change_type):
                change = Change(kind, self._levels.get(level, ResourceLevel.NONE), resource_id)
                for listener in self._listeners:
                    listener(change)
        except Exception:  # the edge of a callback
            _log.exception("a change of Orthanc could not be handled")

    @staticmethod
    def _run(actions: list[Callable[[], None]]) -> None:
        for action in actions:
            action()
