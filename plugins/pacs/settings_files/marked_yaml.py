"""YAML as it was written: every value is text and knows its line.

PyYAML would make `NO` a boolean, `08` a number, and one of two equal keys vanish: these files mean letters.
"""

from __future__ import annotations

from dataclasses import dataclass

import yaml

from pacs.settings_files.faults import Faults, Place

_LONGEST_FILE_CHARACTERS = 1_000_000


@dataclass(frozen=True)
class Text:
    """A piece of text and where it stands."""

    text: str
    place: Place


class Node:
    """A value of the file: text, a list or a mapping. Asking for the wrong one notes a fault and gives nothing."""

    def __init__(self, node: yaml.Node, file: str, faults: Faults) -> None:
        self._node = node
        self._file = file
        self._faults = faults
        self.place = Place(file, node.start_mark.line + 1)

    @property
    def is_mapping(self) -> bool:
        """Whether it is written as `key: value`."""
        return isinstance(self._node, yaml.MappingNode)

    @property
    def is_text(self) -> bool:
        """Whether it is a single word or text."""
        return isinstance(self._node, yaml.ScalarNode)

    def fault(self, message: str) -> None:
        """Note that this value is wrong."""
        self._faults.add(self.place, message)

    def fault_at(self, place: Place, message: str) -> None:
        """Note that something within this value is wrong."""
        self._faults.add(place, message)

    def entries(self, expected: str) -> dict[str, Node]:
        """Return the keys and values, in the order of the file; keys that stand twice are faults."""
        if not isinstance(self._node, yaml.MappingNode):
            self.fault(f"expected {expected}, found {self._shown()}; write it as lines of `key: value`.")
            return {}
        entries: dict[str, Node] = {}
        for key_node, value_node in self._node.value:
            key, value = Node(key_node, self._file, self._faults), Node(value_node, self._file, self._faults)
            if not isinstance(key_node, yaml.ScalarNode):
                key.fault(f"expected a word before the colon, found {key._shown()}.")
            elif key_node.value in entries:
                first = entries[key_node.value].place.line
                key.fault(f'"{key_node.value}" stands twice (first in line {first}); remove one.')
            else:
                value.place = key.place
                entries[key_node.value] = value
        return entries

    def text(self, expected: str) -> str | None:
        """Return the text; None notes a fault."""
        if not isinstance(self._node, yaml.ScalarNode) or self._is_nothing():
            self.fault(f"expected {expected}, found {self._shown()}.")
            return None
        return str(self._node.value).strip()

    def texts(self, expected: str) -> list[Text]:
        """Return one text or a list of them."""
        if not isinstance(self._node, yaml.SequenceNode):
            single = self.text(expected)
            return [] if single is None else [Text(single, self.place)]
        found = []
        for item in self._node.value:
            node = Node(item, self._file, self._faults)
            text = node.text(expected)
            if text is not None:
                found.append(Text(text, node.place))
        return found

    def items(self, expected: str) -> list[Node]:
        """Return the items of a list, or the one value that stands in its place."""
        if isinstance(self._node, yaml.SequenceNode):
            return [Node(item, self._file, self._faults) for item in self._node.value]
        if self._is_nothing():
            self.fault(f"expected {expected}, found nothing.")
            return []
        return [self]

    def _is_nothing(self) -> bool:
        return str(self._node.tag) == "tag:yaml.org,2002:null"

    def _shown(self) -> str:
        if isinstance(self._node, yaml.ScalarNode):
            return "nothing" if self._is_nothing() else f'"{self._node.value}"'
        return "a list" if isinstance(self._node, yaml.SequenceNode) else "lines of `key: value`"


def read_marked(text: str, file: str, faults: Faults, *, when_empty: str) -> Node | None:
    """Return the root of a YAML document; None, with a fault noted, when it is none.

    Parameters
    ----------
    file : name for the places of faults.
    when_empty : what to write into a file that holds nothing.
    """
    if len(text) > _LONGEST_FILE_CHARACTERS:
        faults.add(Place(file, 1), f"longer than {_LONGEST_FILE_CHARACTERS} characters: no file of this kind is.")
        return None
    try:
        # Nodes only: nothing of the file becomes an object of Python.
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        faults.add(Place(file, line), f"no YAML: {error.problem or error.context}; look at the indentation and quotes.")
        return None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        faults.add(Place(file, 1), f"no YAML: {error}".replace("\n", " "))
        return None
    if node is None:
        faults.add(Place(file, 1), f"the file is empty; {when_empty}.")
        return None
    return Node(node, file, faults)
