"""Claims C7 and H1 to H5 on hybrid nets: what is said of them, and the rule that decides each.

C7 is a statement of a paper. H1 to H3 carry statements of the papers on reasoning layers and on deep frames over to
nets whose layers come from an algorithm. H4 and H5 are properties without which the others would mean little. The
rules were fixed before the runs.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from unrolled.claims import hybrid_attack_rules as attack_rules
from unrolled.claims import hybrid_rules as rules
from unrolled.claims.claim import Cell, Claim

THEORY = "hybrid"
REFRAMING = "Murdock, Cazenavette, Lucey: Reframing Neural Networks, 2021 (2103.05804)"
REASONING = (
    "Chen, Zhang, Reisinger, Song: Understanding Deep Architectures with Reasoning Layer, NeurIPS 2020 (2006.13401)"
)
SELECTION = "Murdock, Lucey: Dataless Model Selection with the Deep Frame Potential, CVPR 2020 (2003.13866)"
PROXIMAL = "Beck, Teboulle: A Fast Iterative Shrinkage-Thresholding Algorithm, SIAM J. Imaging Sciences 2009"
MASKING = "Athalye, Carlini, Wagner: Obfuscated Gradients Give a False Sense of Security, ICML 2018 (1802.00420)"

VERDICT = " Each place is one vote. Reproduced: all places hold; partly: at least two thirds; else not reproduced."

TRAINED = (
    " A place holds if every condition at it holds. Runs: the lowest training loss over the rates, by net, inference "
    "and seed. Intervals: 95 % percentile bootstrap over training seeds; a correlation ranks the seeds' means over "
    "cells."
) + VERDICT
"""The part of the rule that claims over cells share."""


def _claim(
    id: str,
    paper: str,
    place: str,
    statement: str,
    metric: str,
    rule: str,
    evaluate: Callable[[pd.DataFrame], list[Cell]],
    experiments: tuple[str, ...],
) -> Claim:
    return Claim(id, THEORY, paper, place, statement, metric, rule, experiments, evaluate)


_LIST = (
    _claim(
        "C7",
        REFRAMING,
        "abstract",
        "Iterated inference, trained end to end, matches the accuracy of the feed-forward net of equal parameters and "
        "is more robust to adversarial perturbations.",
        "PGD error at k = 1 minus that at the largest k, mean over norms, solvers and data sets",
        "Places: (data set, solver). Conditions, between k = 1 (the feed-forward net) and the largest k in the "
        "records, paired by seed: clean test error at k minus that at k = 1 does not lie wholly above 0 and is at most "
        "0.02; PGD error at k = 1 minus that at k lies above 0, at the middle radius (entry len // 2 of the radii, "
        "which start at 0) of each attacked norm, l-infinity and l2. A place without an attacked norm is not tested. "
        "Beside: the other k, the other radii, FGSM, the largest error over PGD, FGSM and random search, what PGD "
        "adds to the clean error, and the area under the curve of PGD accuracy. To be read with H5." + TRAINED,
        attack_rules.iterated_inference,
        (rules.ROBUST,),
    ),
    _claim(
        "H1",
        REASONING,
        "section on approximation ability; carried over to hybrid nets",
        "At an equal number of sweeps, an inference that converges faster gives a lower training error.",
        "Spearman correlation of the distance to the minimiser at k with the training loss, mean over places",
        "Places: (data set, structure, k, experiment) with k > 1 and at least 6 cells (solver, step size). The "
        "interval of Spearman(distance at k, training loss) over the cells lies above 0. At k = 1 all solvers are one "
        "net. Beside: places of 4 or 5 cells, and the training error in place of the loss." + TRAINED,
        rules.convergence_and_error,
        rules.GRIDS,
    ),
    _claim(
        "H2",
        REASONING,
        "generalisation bound; carried over to hybrid nets",
        "The product of stability and convergence of the inference ranks the generalisation gap.",
        "Spearman correlation of measured Stab x Cvg with the gap in cross-entropy, mean over places",
        "Places: (data set, structure, experiment) with at least 6 cells (solver, k, step size); k = 1, one net for "
        "all solvers, is one cell. Stab: mean spectral norm of the derivative of the codes by the input; Cvg: distance "
        "to the minimiser at k; both on the trained net, multiplied by seed. The interval of Spearman(Stab x Cvg, gap) "
        "lies above 0. Beside: each factor alone, minus the training loss as a rival, and the gap in error." + TRAINED,
        rules.stability_and_gap,
        rules.GRIDS,
    ),
    _claim(
        "H3",
        SELECTION,
        "abstract; carried over to hybrid nets",
        "The lower the minimum potential of the structure, the smaller the generalisation gap, beyond what the number "
        "of parameters says.",
        "Spearman correlation of min F and the gap in cross-entropy over structures",
        "Structures (width, skip connections), at least 5 a data set, whose min F takes at least 3 values (that of a "
        "net of one width is 0 up to the width of its input). Places on each data set: (min F) the interval of "
        "Spearman(min F, gap) lies above 0; (beyond the parameters) so does that of the partial Spearman correlation "
        "with minus log parameters held fixed. Min F: the lowest found, values below 1e-4 are 0. Beside: Kendall's and "
        "partial correlations of min F and of minus log parameters with gap, gap in error and test error, and with the "
        "gap within each kind." + TRAINED,
        rules.minimum_and_gap,
        (rules.WIDTH, rules.WIDTH_MINIMUM),
    ),
    _claim(
        "H4",
        PROXIMAL,
        "descent of proximal gradient steps; convergence of all four solvers",
        "On trained nets every sweep of block proximal gradient and of ISTA lowers the objective, and all solvers "
        "reach the same minimum when run long.",
        "share of nets whose mean objective never rises, over block_prox and ista",
        "All finished nets at a fixed step of at most the safe one (solver.step_size <= 1, relative). Places: (solver, "
        "every sweep) for block_prox and ista: in every net the mean objective over test rows rises by at most 1e-5 of "
        "E(0) - E* from a sweep to the next; a first sweep of unit step is left out, being the feed-forward pass. "
        "(solver, long run) for every solver: (E - E*) / (E(0) - E*) after the long run is at most 1e-3 in at least 95 "
        "% of the nets. A net without the value is left out, an infinite one is a violation. Nothing is drawn: n "
        "counts nets, the interval is a point. Beside: the largest values, and the rises of fista and admm, which may "
        "rise." + VERDICT,
        rules.inference_falls,
        (rules.DEPTH, rules.STEP, rules.WIDTH, rules.ROBUST),
    ),
    _claim(
        "H5",
        MASKING,
        "behaviours of masked gradients",
        "The robustness measured here is not an artefact of masked gradients: stronger attacks find no less, and a "
        "very large perturbation fools every net.",
        "PGD error at a very large l-infinity radius, mean over nets",
        "Places: (data set, solver, k). Conditions on means over seeds, as far as they were measured: PGD error at the "
        "far radius is at least 0.99; from each number of PGD steps to the next the error falls by at most 0.01; at "
        "every radius above 0 of each norm the error under PGD is at most 0.01 below that under FGSM and under random "
        "search. The point decides, as a few rows may flip by chance; the far radius must have been measured for the "
        "claim to be run. Beside: the rise over all steps and the mean leads." + TRAINED,
        attack_rules.unmasked_gradients,
        (rules.ROBUST,),
    ),
)

CLAIMS: dict[str, Claim] = {claim.id: claim for claim in _LIST}
"""The claims on hybrid nets, id -> claim, in order."""
