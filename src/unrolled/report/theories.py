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
    "hybrid": TheoryText(
        title="Hybrid nets",
        paper=(
            "Murdock, Cazenavette, Lucey, “Reframing Neural Networks: Deep Structure in Overcomplete Representations”, "
            "arXiv 2103.05804; Chen, Zhang, Reisinger, Song, “Understanding Deep Architectures with Reasoning Layer”, "
            "NeurIPS 2020, arXiv 2006.13401"
        ),
        link="https://arxiv.org/abs/2103.05804",
        paragraphs=(
            "A feed-forward net of rectified linear layers is the first sweep of an algorithm that looks for a sparse "
            "non-negative code of its input in a deep frame. A hybrid net goes on: k sweeps of a solver with the same "
            "weights, and a linear classifier on the last layer's code, trained end to end through all sweeps. For "
            "every k and solver the net has the same parameters, and at k = 1 all solvers are the ordinary net. The "
            "second paper on deep frames claims that such iterated inference matches the accuracy of the feed-forward "
            "net and is more robust to adversarial perturbations.",
            "Here the nets are trained with four solvers: block proximal gradient, ISTA, FISTA and ADMM. The first "
            "theory's quantities are measured on the trained nets: how far the code is from the minimiser after k "
            "sweeps, and how much it moves with the input. They are compared with training error and gap, and so is "
            "the second theory's minimum potential. Nets are attacked through all sweeps, and checks beside it ask "
            "whether the gradients of the attack can be trusted. The claims below were written down with their rules "
            "before the runs.",
        ),
    ),
}
"""Text by theory, in the order of the report."""
