"""Our own index of studies, the search in it, and the durable feed of the archive's changes."""

from pacs.studies.changes import FeedChange
from pacs.studies.feed import ChangeFeed, ChangeSubscriber
from pacs.studies.index import Reconciliation, StudyIndex
from pacs.studies.search import MOST_COUNTED, StudyPage, StudyQuery, StudyRow, find_studies, find_study, search

__all__ = [
    "MOST_COUNTED",
    "ChangeFeed",
    "ChangeSubscriber",
    "FeedChange",
    "Reconciliation",
    "StudyIndex",
    "StudyPage",
    "StudyQuery",
    "StudyRow",
    "find_studies",
    "find_study",
    "search",
]
