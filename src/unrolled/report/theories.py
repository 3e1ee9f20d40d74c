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
    "frames": TheoryText(
        title="Deep frames",
        paper=(
            "Murdock, Lucey, “Dataless Model Selection with the Deep Frame Potential”, CVPR 2020, arXiv 2003.13866; "
            "Murdock, Cazenavette, Lucey, “Reframing Neural Networks: Deep Structure in Overcomplete Representations”, "
            "arXiv 2103.05804"
        ),
        link="https://arxiv.org/abs/2103.05804",
        paragraphs=(
            "A network of rectified linear layers is one sweep of an algorithm that looks for a sparse code of its "
            "input in a large structured dictionary. Codes are unique where the dictionary's columns are far from "
            "parallel. The deep frame potential F is the root mean square of those inner products of columns that the "
            "structure leaves free; its minimum over all weights depends on widths, depth and skip connections alone. "
            "The papers propose that minimum, which needs no data, as a criterion for choosing between networks.",
            "Here the minimum is computed for fully connected and convolutional structures, by closed forms, bounds "
            "and numerical minimisation, and compared with the test errors of the same networks after training, with "
            "and without the potential in the loss. The claims below were written down with their rules before the "
            "runs. As larger networks have lower minima, each correlation stands beside that of the number of "
            "parameters.",
        ),
    ),
}
"""Text by theory, in the order of the report."""
