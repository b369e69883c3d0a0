"""Our own index of studies, the search in it, and the durable feed of the archive's changes."""

from pacs.studies.search import MOST_COUNTED, StudyPage, StudyQuery, StudyRow, find_study, search

__all__ = [
    "MOST_COUNTED",
    "StudyPage",
    "StudyQuery",
    "StudyRow",
    "find_study",
    "search",
]
