"""What one departure from a paper is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Deviation:
    """One departure from a paper.

    Args:
        title: a few words.
        paper: what the paper or its released code does.
        here: what is done here.
        why: the reason, or what it means for a reader.
    """

    title: str
    paper: str
    here: str
    why: str
