"""What a reader who comes from outside needs to know of each theory before the numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TheoryText:
    """The heading and first paragraphs of a theory's part of the report.

    Args:
        title: heading.
        paper: full citation.
        link: address of the paper, for the reader to follow; the page itself loads nothing.
        paragraphs: what the theory says and what is measured here.
    """

    title: str
    paper: str
    link: str
    paragraphs: tuple[str, ...]


THEORY_TEXTS = {
    "reasoning": TheoryText(
        title="Reasoning layers",
        paper=(
            "Chen, Zhang, Reisinger, Song, “Understanding Deep Architectures with Reasoning Layer”, NeurIPS 2020, "
            "arXiv 2006.13401"
        ),
        link="https://arxiv.org/abs/2006.13401",
        paragraphs=(
            "A hybrid architecture puts an algorithm on top of a neural net: the net predicts an energy, and k steps "
            "of gradient descent (GD) or of Nesterov's accelerated method (NAG) minimise it. The paper asks how the "
            "algorithm's own properties, that is convergence, stability and sensitivity, decide how well the whole "
            "architecture fits its training set and how far it falls behind on new problems.",
            "Here the energies are quadratic in five dimensions. A small net learns the spectrum of the quadratic "
            "form from examples of solved problems; everything is trained end to end, for many numbers of steps k, "
            "widths of the net and training seeds. The claims below were written down with their rules before the "
            "runs, and are checked on the records of the runs alone.",
        ),
    ),
}
"""Text by theory, in the order of the report."""
