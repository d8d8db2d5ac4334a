"""Options that are regular expressions of names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def as_list(option: str, patterns: str | Sequence[str]) -> list[str]:
    """The regular expressions of an option; a ``ValueError`` that names it if there are none."""
    listed = [patterns] if isinstance(patterns, str) else patterns
    if not isinstance(listed, list | tuple) or not all(isinstance(p, str) for p in listed):
        raise ValueError(
            f'{option} must be a regular expression or a list of several, got {patterns!r}'
        )
    return list(listed)


def full_matches(option: str, pattern: str, names: Iterable[str]) -> list[str]:
    """The names that a pattern of an option matches whole; a ``ValueError`` if it is none."""
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise ValueError(f'{option} {pattern!r} is no regular expression: {error}') from error
    return [name for name in names if regex.fullmatch(name)]
