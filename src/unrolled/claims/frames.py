"""Claims C1 to C6 and C8 to C10 on deep frames: what the papers say, and the rule that decides each.

The rules were fixed before the runs. Where the shared rule left something open, the reading taken here is in the
claim's ``rule``. C7, on iterated inference, is in :mod:`unrolled.claims.hybrid`.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from unrolled.claims import frames_minimum_rules as minimum_rules
from unrolled.claims import frames_rules as rules
from unrolled.claims.claim import Cell, Claim

THEORY = "frames"
SELECTION = "Murdock, Lucey: Dataless Model Selection with the Deep Frame Potential, CVPR 2020 (2003.13866)"
REFRAMING = "Murdock, Cazenavette, Lucey: Reframing Neural Networks, 2021 (2103.05804)"

VERDICT = " Each place is one vote. Reproduced: all places hold; partly: at least two thirds; else not reproduced."

TRAINED = (
    " A place holds if every condition at it holds. Errors: share of test images classified wrongly, of the run with "
    "the lowest training loss over the rates, by structure, weight and seed. Intervals: 95 % percentile bootstrap over "
    "training seeds, whose mean errors are ranked over structures. Min F: the lowest found, values below 1e-4 are 0."
) + VERDICT
"""The part of the rule that claims on trained nets share."""

EXACT = (
    " Min F: the lowest found, values below 1e-4 are 0. A structure's minimum is not drawn at random, so comparisons "
    "are exact: n counts structures, the interval of a comparison is a point, that of an effect goes from the smallest "
    "to the largest value."
) + VERDICT
"""The part of the rule that claims on minimum potentials share."""

FC = (rules.FULLY_CONNECTED, rules.FULLY_CONNECTED_MINIMUM)
CONV = (rules.CONVOLUTIONAL, rules.CONVOLUTIONAL_MINIMUM)
DENSE = (rules.DENSE, rules.DENSE_MINIMUM)


def _claim(
    number: int,
    paper: str,
    place: str,
    statement: str,
    metric: str,
    rule: str,
    evaluate: Callable[[pd.DataFrame], list[Cell]],
    experiments: tuple[str, ...],
) -> Claim:
    return Claim(f"C{number}", THEORY, paper, place, statement, metric, rule, experiments, evaluate)


_LIST = (
    _claim(
        1,
        SELECTION,
        "abstract; figure of validation error against minimum deep frame potential, fully connected nets",
        "Trained with potential regularisation, the error of a fully connected net follows the minimum deep frame "
        "potential of its structure closely, and more closely than without it.",
        "Spearman correlation over shapes of min F and test error, with regularisation",
        "Places: data sets. Conditions at each, over the chains that both weights have, at least 20: the interval of "
        "Spearman(min F, error) with regularisation lies above 0.7; its difference to that without regularisation, on "
        "the same shapes and resampled seeds, lies above 0. With fewer shapes both stand beside. Beside at every "
        "weight: Spearman's and Kendall's correlations of min F, and of minus log parameters, with the error, and "
        "Spearman's of each with the other held fixed." + TRAINED,
        rules.error_correlation,
        FC,
    ),
    _claim(
        2,
        SELECTION,
        "figure of validation error against minimum deep frame potential, fully connected nets, labelled dots",
        "Without regularisation the largest fully connected nets fail; regularisation rescues them and changes little "
        "for small ones.",
        "gain: test error without minus with regularisation, mean over the largest third of the shapes and data sets",
        "Shapes that both weights have, ordered by the network's parameters; a third is their number divided by 3, "
        "rounded down, at least 2. Places: the largest and the smallest third on each data set. The mean gain of the "
        "largest third lies above 0; that of the smallest third does not lie wholly above 0 (no gain), and its point "
        "estimate is above -0.05 (at most a small loss). Beside: their difference, and the rank correlation of gain "
        "and parameters." + TRAINED,
        rules.regularisation_gain,
        FC,
    ),
    _claim(
        3,
        REFRAMING,
        "figure of structures and Gram patterns; section on skip connections",
        "Denser skip connections leave fewer entries of the Gram matrix structurally empty, so at equal widths the "
        "minimum potential falls from chain to residual to dense nets.",
        "relative drop of min F from chain to residual net of equal shape, mean over shapes",
        "Named: shapes of at least 3 layers whose chain has min F above 0. Places: (data set, shape). Conditions, as "
        "far as both kinds are in the records: dense at most residual_all, residual_all at most residual (at most: "
        "with 1 % slack, as both are numerical minima), residual below chain (no slack)." + EXACT,
        minimum_rules.skip_order,
        (minimum_rules.GRAM, rules.FULLY_CONNECTED_MINIMUM, rules.CONVOLUTIONAL_MINIMUM, rules.DENSE_MINIMUM),
    ),
    _claim(
        4,
        REFRAMING,
        "figure on parameter efficiency, minimum potential against parameters",
        "Residual and dense nets reach a lower minimum potential with no more parameters.",
        "share of pairs with the lower min F on the claimed side",
        "Places, on each data set with at least 3 pairs of the kind: (residual, chain) of equal shape, pairs with both "
        "min F 0 left out: residual is lower in at least two thirds (the paper's own figure holds in 26 of 32); each "
        "residual net with min F above 0 and at least one dense net with no more network parameters: the lowest "
        "min F of these dense nets is lower in at least two thirds. The interval resamples the pairs and stands for "
        "the reader; the point decides." + EXACT,
        minimum_rules.efficiency,
        (rules.CONVOLUTIONAL_MINIMUM, rules.DENSE_MINIMUM),
    ),
    _claim(
        5,
        REFRAMING,
        "figure on parameter efficiency, validation error against depth",
        "The error of chains turns up with depth, that of residual nets keeps falling or levels off.",
        "test error of the chain at n >= 10 blocks a group minus that at n = 5, mean over n, widths and data sets",
        "Runs without regularisation. Places: (data set, b). Conditions: chain(n) - chain(5) lies above 0 for every "
        "n >= 10 in the records; chain(10) - residual(10) lies above 0.03, where both are there. Differences are "
        "paired by seed. Without n = 5 or any n >= 10 a width is not tested. Beside: changes from each n to the "
        "next." + TRAINED,
        rules.depth,
        CONV,
    ),
    _claim(
        6,
        REFRAMING,
        "figure on parameter efficiency, error against minimum potential within a family",
        "Within residual nets the minimum potential ranks the errors, better than it does within chains. A criterion "
        "should rank them no worse than the number of parameters does.",
        "Spearman correlation of min F and test error over residual nets",
        "Runs without regularisation, families of at least 5 nets. Places on each data set: (residual) Spearman(min F, "
        "error) lies above 0; (against the parameters) Spearman(min F, error) - Spearman(-log parameters, error), on "
        "the same resampled seeds, does not lie wholly below 0; (against chains) Spearman of residual nets minus that "
        "of chains lies above 0, left out without chains. In the paper's figure the three are .88, -.07 and .47. "
        "Beside: Kendall's and partial correlations." + TRAINED,
        rules.residual_criterion,
        CONV,
    ),
    _claim(
        8,
        REFRAMING,
        "abstract",
        "The correlation of minimum potential and error holds on several data sets and for residual and dense "
        "convolutional nets.",
        "Spearman correlation of min F and test error, mean over data sets and families",
        "Places: (data set, family) of at least 5 nets: fully connected chains, with regularisation where there are "
        "such runs, else without; convolutional nets of every residual and dense kind, without regularisation. "
        "Spearman(min F, error) lies above 0. Convolutional chains, and the other weight, stand beside." + TRAINED,
        rules.every_data_set,
        (*FC, *CONV, *DENSE),
    ),
    _claim(
        9,
        SELECTION,
        "definition of the deep frame potential as a bound of coherence; training with regularisation",
        "The potential is at most the coherence; random weights are well above the minimum, and regularised training "
        "brings the potential down towards it.",
        "share of F's excess over the minimum that regularised training removes, mean over nets and data sets",
        "Places: coherence - F of every random, trained and minimal dictionary in the records is not below 0 (to 1e-4 "
        "of F; exact); on each data set: F of random dictionaries, and of the initial weights of regularised chains "
        "(mean over seeds), is above 1.1 min F for at least two thirds of the structures; (F initial - F trained) / (F "
        "initial - min F), mean over the regularised chains that start above 1.1 min F, lies above 0. Beside: the same "
        "without regularisation, and the fall of the trained F from each potential weight to the next. Intervals of "
        "shares of structures resample the structures; the point decides." + TRAINED,
        minimum_rules.potential_falls,
        (*FC, *CONV, *DENSE, minimum_rules.GRAM, minimum_rules.WEIGHT),
    ),
    _claim(
        10,
        SELECTION,
        "figure of validation error against minimum deep frame potential, fully connected nets, growing shapes",
        "Wider and deeper growth lowers the minimum potential: F ~ sqrt(c / k_1) with c = 2/9, 6/41 and 14/169 for 2, "
        "3 and 4 layers, each twice as wide as the one before.",
        "share of min F lost when all widths double (closed form 0.293), mean over pairs",
        "Named: chains of 2 to 4 layers whose widths double, k_1 at most the input's dimension. Places: each pair of "
        "such nets that differ by doubled widths, or by one more layer at equal k_1: the larger has the lower min F; "
        "and each such net: min F is within 5 % of sqrt(c / k_1)." + EXACT,
        minimum_rules.growth,
        (rules.FULLY_CONNECTED_MINIMUM,),
    ),
)

CLAIMS: dict[str, Claim] = {claim.id: claim for claim in _LIST}
"""The claims on deep frames, id -> claim, in order."""
