"""YAML text -> plain data, with the text of every scalar kept for error messages.

Stricter than YAML: a key given twice is an error, and so is whatever JSON has no
type for (dates, binary, sets), since it is always a missing pair of quotes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from smegmesh.declaration.errors import DeclarationError

if TYPE_CHECKING:
    import yaml

MAX_FILE_SIZE = 64 * 1024
_MAX_NODES = 20_000  # aliases multiply: a small file can stand for a huge tree
_MAX_DEPTH = 16

Where = tuple["str | int", ...]


@dataclass(frozen=True, slots=True)
class Document:
    """Plain data of a file; `texts` holds each scalar as it was written, by its path."""

    file: str
    data: object
    texts: Mapping[Where, str] = field(default_factory=dict)


def where_text(where: Where) -> str:
    """('bootstrap', 1, 'address') -> 'bootstrap[1].address'."""
    text = ""
    for part in where:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def read_text(path: Path) -> str:
    """The text of a regular file of reasonable size; DeclarationError for anything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        fix = "make it readable for the agent's user" if isinstance(error, PermissionError) else "put the file there"
        raise DeclarationError(str(path), "", f"cannot be read: {error.strerror}", fix) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DeclarationError(str(path), "", "is not a regular file", "replace it by a file or take it away")
    with os.fdopen(descriptor, "rb") as stream:
        content = stream.read(MAX_FILE_SIZE + 1)
    if len(content) > MAX_FILE_SIZE:
        raise DeclarationError(str(path), "", f"is larger than {MAX_FILE_SIZE // 1024} KiB", "split or shorten it")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise DeclarationError(str(path), "", f"is not UTF-8 (byte {error.start})", "save it as UTF-8") from None


def parse_document(file: str, text: str) -> Document:
    """Parse YAML; DeclarationError names the line."""
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)  # the C loader crashes on deep nesting
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise DeclarationError(file, "", f"is not valid YAML: {error.problem}{line}", "mend that line") from None
    except RecursionError:
        raise DeclarationError(file, "", "is not valid YAML: nested too deeply", "mend the file") from None
    except yaml.YAMLError as error:
        what = str(error).splitlines()[0]
        raise DeclarationError(file, "", f"is not valid YAML: {what}", "mend the file") from None
    reader = _Reader(file)
    data = reader.read(root, ()) if root is not None else None
    return Document(file, data, reader.texts)


class _Reader:
    """Walks one composed tree."""

    def __init__(self, file: str) -> None:
        self.texts: dict[Where, str] = {}
        self._file = file
        self._nodes = 0

    def read(self, node: yaml.Node, where: Where) -> object:
        import yaml

        self._nodes += 1
        if self._nodes > _MAX_NODES or len(where) > _MAX_DEPTH:
            raise DeclarationError(self._file, where_text(where), "is too large or too deep", "shorten the file")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, where)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*where, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, where)

    def _mapping(self, node: yaml.MappingNode, where: Where) -> dict[str, object]:
        data: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node.value, str) else "?"
            line = key_node.start_mark.line + 1
            if key_node.tag != "tag:yaml.org,2002:str":
                what = f"key `{key}` (line {line}) is not read as text by YAML"
                raise DeclarationError(self._file, where_text(where), what, f'write it in quotes: "{key}"')
            self._check_printable(key, where)
            if key in data:
                what = f"key `{key}` is given twice (again in line {line})"
                raise DeclarationError(self._file, where_text((*where, key)), what, "keep one of them")
            data[key] = self.read(value_node, (*where, key))
        return data

    def _scalar(self, node: yaml.Node, where: Where) -> object:
        import yaml

        text = str(node.value)
        self.texts[where] = text
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if kind not in ("str", "int", "float", "bool", "null"):
            what = f"YAML reads `{text}` as {kind}, which no key takes"
            raise DeclarationError(self._file, where_text(where), what, f'write it in quotes: "{text}"')
        if kind == "str":
            self._check_printable(text, where)
            return text
        constructor = yaml.constructor.SafeConstructor()
        try:
            return constructor.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            raise DeclarationError(self._file, where_text(where), f"bad {kind} `{text}`: {error}", "mend it") from None

    def _check_printable(self, text: str, where: Where) -> None:
        """Every key and value is one line for people; YAML's escapes can make what is no text at all."""
        if not text.isprintable():
            what = f"{text!r} holds characters that cannot be printed"
            raise DeclarationError(self._file, where_text(where), what, "write it in one line, without them")
