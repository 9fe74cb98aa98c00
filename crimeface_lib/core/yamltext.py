"""YAML that people wrote, read with care: no tags that build objects, nothing said twice, nothing that explodes."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

from crimeface_lib.core.errors import InputError

_LONGEST, _DEEPEST = 1 << 20, 40  # characters; levels


class _Loader(yaml.SafeLoader):
    """A safe loader that takes each key once and merges nothing."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        keys: set[Any] = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, "a merge key (<<): write it out", key.start_mark)
            name = self.construct_object(key, deep=True)
            if isinstance(name, Hashable) and name in keys:
                raise yaml.constructor.ConstructorError(None, None, f"the key {name!r} a second time", key.start_mark)
            keys.add(name if isinstance(name, Hashable) else id(key))
        return super().construct_mapping(node, deep=deep)


def read_yaml(text: str) -> Any:
    """Return what YAML text says, in lists, mappings and plain values.

    Raises
    ------
    InputError : not YAML; an alias, a merge key, a tag that is not YAML's own, a key said twice; too long or too deep.

    >>> read_yaml("a: [1, true]")
    {'a': [1, True]}
    """
    if len(text) > _LONGEST:
        raise InputError(f"got YAML of {len(text):,} characters, expected at most {_LONGEST:,}")
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise InputError(f"got an alias in YAML (*{event.anchor}), which can grow without end; write it out")
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > _DEEPEST:
                raise InputError(f"got YAML of more than {_DEEPEST} levels, expected a plain form")
        return yaml.load(text, Loader=_Loader)
    except InputError:
        raise
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise InputError(f"this is not YAML as we read it: {error}") from error
