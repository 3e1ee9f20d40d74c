"""Robust error of an ensemble of classifiers: the share of rows answered wrongly under attacks of growing radius.

The radii are fixed shares of a largest one. Besides the attacks themselves there are three checks of whether gradients
can be trusted, as a net may only seem robust where they mislead: a search without gradients finds no more than PGD;
more steps find more, up to a plateau; and a ball that holds all other rows leaves no answer right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.data.streams import generator
from unrolled.measures.adversarial import fgsm, pgd, random_search
from unrolled.measures.misclassification import Scores, error
from unrolled.measures.perturbation import NORMS, Bound, Radius

FRACTIONS = (0.0, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""Radii, as shares of the largest."""

MIDDLE = 2
"""Which of the radii is attacked with growing numbers of steps."""

STEPS = (1, 2, 5, 10, 20, 40)
"""Those numbers of steps."""

QUERIES = 100
"""Points that the search without gradients tries at each radius."""

Numbers = Tensor | NDArray[np.floating]

Curves = dict[str, Tensor | list[float] | list[int] | None]
"""Columns: tensors have the replicas first, lists are the same for all, None is what was not asked for."""


@dataclass(frozen=True, eq=False)
class Attacks:
    """The attacks on one ensemble and its rows, by radius and norm; arguments as in :func:`robustness`.

    Every call draws afresh from the seeds, so no result depends on what else was measured. The inputs found at smaller
    radii, if any, are kept where nothing worse is found.
    """

    scores: Scores
    inputs: Tensor
    labels: Tensor
    steps: int
    restarts: int
    seeds: Sequence[int]
    low: Bound
    high: Bound
    queries: int

    def fgsm(self, radius: Radius, norm: str, found: Tensor | None = None) -> Tensor:
        """Return what one step leads to, whatever was found before."""
        return fgsm(self.scores, self.inputs, self.labels, radius, norm, self.low, self.high)

    def pgd(self, radius: Radius, norm: str, found: Tensor | None = None, steps: int | None = None) -> Tensor:
        """Return the worst inputs of projected gradient ascent."""
        return pgd(
            self.scores, self.inputs, self.labels, radius, norm, steps=self.steps if steps is None else steps,
            restarts=self.restarts, draws=self._draws(), low=self.low, high=self.high, found=found,
        )  # fmt: skip

    def random(self, radius: Radius, norm: str, found: Tensor | None = None) -> Tensor:
        """Return the worst inputs of the search without gradients."""
        return random_search(
            self.scores, self.inputs, self.labels, radius, norm, queries=self.queries, draws=self._draws(),
            low=self.low, high=self.high, found=found,
        )  # fmt: skip

    def error(self, inputs: Tensor) -> Tensor:
        """Return the errors at these inputs, ``(R,)``."""
        return error(self.scores, inputs, self.labels)

    def curve(
        self, attack: Callable[[Radius, str, Tensor | None], Tensor], radii: Sequence[float], norm: str
    ) -> Tensor:
        """Return the errors under one of these attacks at growing radii from 0, ``(R, radii)``."""
        found, errors = None, [self.error(self.inputs)]
        for radius in radii[1:]:
            found = attack(radius, norm, found)
            errors.append(self.error(found))
        return torch.stack(errors, 1)

    def _draws(self) -> list[np.random.Generator]:
        return [generator(seed, "attack") for seed in self.seeds]


def robustness(
    scores: Scores,
    inputs: Tensor,
    labels: Tensor,
    *,
    linf: float | None,
    l2: float | None,
    steps: int,
    restarts: int,
    seeds: Sequence[int],
    low: Bound = None,
    high: Bound = None,
    queries: int = QUERIES,
) -> Curves:
    """Return the errors of every replica under attacks of growing radius, and the checks of these attacks.

    What PGD and the search find at one radius stays a candidate at the larger ones, as it lies in their balls too: both
    curves rise by construction. FGSM is run afresh at each radius, and PGD for each number of steps, from the same
    starts.

    Args:
        scores: the classifiers; see :func:`in_raw_units` for inputs that were standardised.
        inputs: ``(R, B, ...)`` clean inputs.
        labels: ``(R, B)`` integers from 0.
        linf: largest radius >= 0 in the maximum norm, in the units of the inputs; None leaves these attacks out.
        l2: largest radius in the Euclidean norm, likewise.
        steps: of PGD, >= 1.
        restarts: of PGD, >= 1, the first at the clean input.
        seeds: ``(R,)`` seed of each replica, from which alone its draws come.
        low: smallest valid value, or None.
        high: largest valid value, or None.
        queries: points tried by the search without gradients, >= 1.

    Returns:
        For each norm p: ``attack_p`` the radii, and ``robust_fgsm_p``, ``robust_pgd_p``, ``robust_random_p`` the
        errors ``(R, radii)``. For Linf also ``attack_steps`` and ``robust_by_steps_linf`` ``(R, steps)``, PGD at the
        middle radius; and ``robust_far_linf`` ``(R,)``, PGD in a ball that holds all other rows of the replica. Errors
        are float64; all columns of a norm that is left out are None.

    Raises:
        ValueError: an argument outside its range, or shapes that do not fit.

    Reference:
        Carlini et al. 2019, "On evaluating adversarial robustness" (the checks).
    """
    attacks = Attacks(scores, inputs, labels, steps, restarts, seeds, low, high, queries)
    columns: Curves = {}
    for norm, largest in zip(NORMS, (linf, l2), strict=True):
        radii = None if largest is None else [fraction * largest for fraction in FRACTIONS]
        columns[f"attack_{norm}"] = radii
        for name, attack in (("fgsm", attacks.fgsm), ("pgd", attacks.pgd), ("random", attacks.random)):
            columns[f"robust_{name}_{norm}"] = None if radii is None else attacks.curve(attack, radii, norm)
    if linf is None:
        return columns | dict.fromkeys(("attack_steps", "robust_by_steps_linf", "robust_far_linf"))
    middle, values = FRACTIONS[MIDDLE] * linf, inputs.detach().flatten(1)
    by_steps = [attacks.error(attacks.pgd(middle, "linf", steps=count)) for count in STEPS]
    return columns | {
        "attack_steps": list(STEPS),
        "robust_by_steps_linf": torch.stack(by_steps, 1),
        "robust_far_linf": attacks.error(attacks.pgd(values.amax(1) - values.amin(1), "linf")),
    }


def in_raw_units(scores: Scores, inputs: Tensor, mean: Numbers, deviation: Numbers) -> tuple[Scores, Tensor]:
    r"""Return classifiers of raw images, and those images, for classifiers of standardised ones.

    With them radii and the box of valid inputs are in the units of the images, such as 0 to 1, in all channels alike.

    Args:
        scores: classifiers that read :math:`(x - m_c) / s_c`.
        inputs: ``(R, B, C, H, W)`` standardised images.
        mean: ``(C,)`` means m of the channels, or ``(1,)``.
        deviation: ``(C,)`` standard deviations s > 0, or ``(1,)``.

    Returns:
        The classifiers that read x, and x.
    """
    m, s = (torch.as_tensor(own).to(inputs).view(-1, 1, 1) for own in (mean, deviation))
    return lambda x: scores((x - m) / s), inputs * s + m
