"""A project: how instances are de-identified for one purpose, such as a study, a register or a class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from pacs.deidentify.masks import Mask
from pacs.deidentify.options import Clean, Retain
from pacs.deidentify.plan import Plan
from pacs.deidentify.table import safe_private
from pacs.deidentify.words import allowed_words

type PrivateElements = Mapping[tuple[str, int], frozenset[int]]

OLDEST_AGE_YEARS = 89
MOST_SHIFT_DAYS = 3650
LEAST_SHIFT_DAYS = 30


@dataclass(frozen=True)
class Project:
    """What a project wants, as deidentify.yaml says it.

    Attributes
    ----------
    secret_name : of the credential or the environment variable that holds the secret.
    pseudonym_prefix : stands before every pseudonym.
    issuer : of patients' numbers that come without one.
    without_patient_id : "refuse", or "study": each study is then a patient of its own.
    shift_days : dates go back by 1 to so many days.
    oldest_age_years : an older PatientAge becomes one year more than this; None keeps all.
    own_words : allowed in descriptions beside the common ones.
    masks : for burned-in text.
    unmasked : "refuse" images that may hold burned-in text and have no mask, or "declared": only such that say so.
    private_elements : kept beside the standard's list: the last two digits by creator and group.
    documents : "refuse" encapsulated documents, or "replace" them by an empty one.
    faces : "refuse" images that are said to show recognizable features, or "accept".
    private_classes : whether instances of manufacturers' own SOP classes are let through.
    settings : values that every instance is given, by keyword.
    """

    name: str
    secret_name: str
    retain: frozenset[Retain] = frozenset()
    clean: frozenset[Clean] = frozenset()
    pseudonym_prefix: str = ""
    issuer: str = ""
    without_patient_id: str = "refuse"
    shift_days: int = MOST_SHIFT_DAYS
    oldest_age_years: int | None = OLDEST_AGE_YEARS
    own_words: tuple[str, ...] = ()
    masks: tuple[Mask, ...] = ()
    unmasked: str = "refuse"
    private_elements: PrivateElements = field(default_factory=dict)
    documents: str = "refuse"
    faces: str = "refuse"
    private_classes: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def plan(self) -> Plan:
        """What is done with each attribute."""
        return Plan((*self.retain, *self.clean))

    @cached_property
    def words(self) -> frozenset[str]:
        """The words that may stay in descriptions, folded."""
        return allowed_words(self.own_words)

    @cached_property
    def safe_elements(self) -> PrivateElements:
        """Which private elements stay; none without the option."""
        if Retain.SAFE_PRIVATE not in self.retain:
            return {}
        both = {*safe_private(), *self.private_elements}
        none: frozenset[int] = frozenset()
        return {block: safe_private().get(block, none) | self.private_elements.get(block, none) for block in both}
