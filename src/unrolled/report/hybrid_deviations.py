"""Where the work on hybrid nets departs from the papers."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from unrolled.report.deviation import Deviation
from unrolled.report.settings import value_list

_ENTRIES = (
    Deviation(
        "Hybrid nets: the first sweep",
        "Not stated how the iterated net relates to the feed-forward one at its start.",
        "In the experiments the first sweep takes step 1, block by block, for every solver: it is the feed-forward "
        "pass, and k = 1 the ordinary net. Later sweeps take the solver's safe step times a factor.",
        "Every k has the same parameters and contains the feed-forward net. The first sweep may raise the objective, "
        "so the claim on its descent starts after it.",
    ),
    Deviation(
        "Hybrid nets: solvers",
        "Block-wise proximal steps, the first round of which is the feed-forward net; ADMM in earlier work of the "
        "authors.",
        "Block proximal gradient, ISTA, FISTA and ADMM, all on the same objective with non-negative codes.",
        "Comparing solvers at equal k is what the theory of reasoning layers speaks about.",
    ),
    Deviation(
        "Hybrid nets: the attack",
        "Adversarial perturbations; neither attack nor strengths are known.",
        "FGSM, projected gradient descent with restarts and a random search, in two norms, at several radii in units "
        "of the raw inputs, through the graph of all sweeps, on the same rows for all nets.",
        "The claim is tested at the middle radius of those in the records; curves over all radii stand beside it.",
    ),
    Deviation(
        "Hybrid nets: masked gradients",
        "No check is known.",
        "Growing numbers of steps, a search without gradients and a very large radius, as a claim of its own (H5).",
        "Unrolling many sweeps can make gradients small, which looks like robustness and is none.",
    ),
    Deviation(
        "Hybrid nets: depth",
        "Depth counts the blocks of each of three groups, whose widths double.",
        "A net of depth n has one first layer and n more, all of one width.",
        "Chain, residual and dense nets of one depth then have equal widths; three layers are the fewest in which they "
        "differ.",
    ),
    Deviation(
        "Hybrid nets: convergence and stability",
        "Worst cases over a class of quadratic energies, known up to constants.",
        "Measured on each trained net: relative distance to the minimiser after k sweeps, and the spectral norm of the "
        "code's derivative by the input, means over test rows.",
        "The objective of a hybrid net may be barely strongly convex, or not at all, so the worst case would say "
        "little. Where the minimiser is not unique the distance need not vanish.",
    ),
    Deviation(
        "Hybrid nets: the gap",
        "Bounds on the loss.",
        "Gap in cross-entropy for the claims; the gap in error stands beside them.",
        "The error of a small test set is coarse; the loss also feels how sure a net is.",
    ),
)
"""The departures that do not depend on the records."""

_CONVOLUTION = Deviation(
    "Hybrid nets: no batch normalisation",
    "Convolutional nets with batch normalisation, judging by their parameter counts.",
    "Hybrid nets have filters and biases alone.",
    "A normalisation inside the sweeps would change the objective that they minimise. Errors of convolutional nets "
    "may be higher than with it.",
)


def _data(frame: pd.DataFrame) -> Deviation | None:
    """Describe data sets, solvers and search as the records hold them; None without trained nets."""
    nets = frame[frame["train_loss"].notna()] if "train_loss" in frame else frame.iloc[:0]
    if nets.empty:
        return None
    return Deviation(
        "Hybrid nets: data sets, sizes and seeds",
        "Image data sets such as CIFAR-10; sweeps, optimiser and seeds are not known.",
        f"These records: {value_list(nets['data.name'])}; {value_list(nets['solver.name'])} with k = "
        f"{value_list(nets['solver.steps'])}; optimiser {value_list(nets['optim.name'])}; learning rate "
        f"{value_list(nets['optim.lr'])}; {value_list(nets['optim.epochs'])} epochs; {nets['seed'].nunique()} training "
        "seeds.",
        "Small data sets let a laptop train and attack many nets.",
    )


def _normalisation(frame: pd.DataFrame) -> Deviation | None:
    """Say that there is no normalisation where convolutional nets are among the records."""
    structures = frame["structure"].dropna() if "structure" in frame else []
    return _CONVOLUTION if any(" on " in text for text in structures) else None


_FROM_RECORDS: tuple[Callable[[pd.DataFrame], Deviation | None], ...] = (_normalisation, _data)


def deviations(frame: pd.DataFrame) -> list[Deviation]:
    """Return the departures in the order in which they are numbered.

    Args:
        frame: the theory's records, one row a trial.
    """
    return [*_ENTRIES, *(entry for describe in _FROM_RECORDS if (entry := describe(frame)) is not None)]
