"""Claims R1 to R8 on reasoning layers: what the paper says, and the rule that decides each, fixed before the runs.

Where the shared rule left something open, the reading taken here is in the claim's ``rule``.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from unrolled.claims import reasoning_rules as rules
from unrolled.claims.claim import Cell, Claim

THEORY = "reasoning"
PAPER = "Chen, Zhang, Reisinger, Song: Understanding Deep Architectures with Reasoning Layer, NeurIPS 2020 (2006.13401)"

COMMON = (
    " A (width, k) holds if every condition at it holds, for each algorithm; a condition over all k counts as one "
    "more. Intervals: 95 % percentile bootstrap over paired training seeds. Reproduced: all hold; partly: at least two "
    "thirds; else not reproduced. Cells with fewer than 2 seeds are not tested."
)
"""The part of the rule that all claims share."""

EXCESS = "gap excess (gap minus the gap of the same layer with the true energy on the same rows; Euclidean distance)"


def _claim(
    number: int,
    place: str,
    statement: str,
    metric: str,
    rule: str,
    evaluate: Callable[[pd.DataFrame], list[Cell]],
    experiments: tuple[str, ...] = (rules.GENERALIZATION,),
) -> Claim:
    return Claim(f"R{number}", THEORY, PAPER, place, statement, metric, rule + COMMON, experiments, evaluate)


_LIST = (
    _claim(
        1,
        "approximation ability; experiments on synthetic data, training error against k",
        "Faster convergence gives better approximation: the training error falls with k, and NAG's is at or below "
        "GD's.",
        "training error (mean Euclidean distance), GD - NAG at equal k, mean over k >= 2 and widths",
        "Named k: 2..30, at every width. Two conditions at each (width, k): error(previous k of the grid) - error(k) "
        "lies above 0 for GD and for NAG; GD - NAG lies above 0.",
        rules.faster_convergence,
    ),
    _claim(
        2,
        "approximation ability; experiments on synthetic data, distance of the learned energy to the true one",
        "Faster convergence gives better representation: while an algorithm still errs, the energy learned through NAG "
        "is nearer to the true one than that learned through GD.",
        "representation error (mean over the population of ||Q_theta - Q*||_2), GD - NAG at equal k",
        "Named k: those where NAG's mean training error is above 0.1, at every width. GD - NAG lies above 0. Reading: "
        "k = 1 is reported but does not count, since both algorithms are the same function of the energy there (one "
        "gradient step from 0, whose result does not depend on Q).",
        rules.better_representation,
    ),
    _claim(
        3,
        "generalization ability; experiments on synthetic data, gap of the over-parameterised net",
        "Over-parameterised energy net (32 hidden units): the gap first grows with k as the stability constant does, "
        "and at small k NAG's gap is not smaller than GD's.",
        f"{EXCESS}, change to the next k of the grid, mean over k 2..5 and both algorithms",
        "Named k: 2..5, width 32. Conditions at each k: gap excess(k) - gap excess(previous k of the grid) lies above "
        "0 for GD and for NAG; NAG - GD is not below 0 (reading of 'not smaller': the interval does not lie wholly "
        "below 0).",
        rules.early_gap,
    ),
    _claim(
        4,
        "generalization ability; experiments on synthetic data, gap of the about-right net",
        "About-right energy net (16 hidden units): the gap follows stability times convergence, up and then down; NAG "
        "turns down earlier, so its gap is smaller at large k.",
        f"{EXCESS}, GD - NAG at equal k, mean over k >= 10",
        "Named k: 10 and above, width 16. GD - NAG lies above 0 at each k; and, as one more condition, the k of the "
        "largest seed-mean gap excess is smaller for NAG (interval of the difference of the two k, seeds resampled, "
        "lies above 0). The rank correlation of the gap excess with Stab * Cvg stands beside and does not count.",
        rules.late_gap,
    ),
    _claim(
        5,
        "generalization ability; experiments on synthetic data, under-parameterised net",
        "Under-parameterised energy net (no hidden units): the training error saturates above 0 however large k is, "
        "and the gap does not vanish with k.",
        "raw gap (test - train, Euclidean distance), mean over the last three k and both algorithms",
        "Named k: the last three of the grid, width 0. Conditions at each k, for GD and NAG: training error above 0; "
        "raw gap above 0. One more condition: the seed-mean training errors at the three k differ by less than 2 % "
        "(reading: (largest - smallest) / their mean, by the point estimate; its interval stands beside).",
        rules.saturation,
    ),
    _claim(
        6,
        "pros and cons of RNN as a reasoning layer; experiments on synthetic data",
        "A recurrent layer, whose own weights are free, approximates well and generalises worse than GD and NAG.",
        f"{EXCESS}, RNN - GD and RNN - NAG at equal k, mean over k >= 5 and widths",
        "Named k: those of the recurrent grid from 5 on, at every width it has. Conditions at each (width, k): gap "
        "excess of the RNN minus that of GD, and minus that of NAG, lie above 0; training error of GD minus that of "
        "the RNN is not below 0 (reading of 'approximates well': the interval does not lie wholly below 0).",
        rules.recurrent_layer,
        (rules.RNN, rules.GENERALIZATION),
    ),
    _claim(
        7,
        "properties of algorithms; experiments on synthetic data, learned step size",
        "A learned step size stays in the admissible range and makes the layer less sensitive to it at large k.",
        "exact sensitivity to the step size (max over e in [mu, L] of |dp_k/ds|), fixed - learned step, mean over "
        "k >= 10",
        "Named: the range at every finished trial, [c0, 2/(mu + L)] for GD and [c0, 4/(mu + 3L)] for NAG, each width "
        "one condition (borders to one part in a million); the sensitivity at k >= 10: Sens(k, fixed step) - Sens(k, "
        "learned step) lies above 0, paired by seed at the same (width, algorithm, k). Smaller k stand beside.",
        rules.learned_step_size,
        (rules.LEARNED_STEP, rules.GENERALIZATION),
    ),
    _claim(
        8,
        "generalization ability, local against standard Rademacher bound",
        "Stability times convergence ranks the measured gap over algorithms and k better than the standard bound, "
        "which only grows with k.",
        f"Spearman correlation with {EXCESS} over (algorithm, k): that of Stab * Cvg minus that of the standard bound",
        "Width 16 decides, as one condition: the interval of Spearman(Stab * Cvg, gap excess) over (algorithm, k) lies "
        "above the interval of Spearman(standard bound, gap excess) (reading: the two intervals do not overlap; the "
        "effect is their difference on the same resampled seeds). Needs two k. A constant side counts as correlation "
        "0. Standard bound: Stab alone. Other widths stand beside.",
        rules.gap_predictor,
    ),
)

CLAIMS: dict[str, Claim] = {claim.id: claim for claim in _LIST}
"""The claims on reasoning layers, id -> claim, in order."""
