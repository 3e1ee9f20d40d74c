"""Where this work departs from the papers: what they do, what is done here, and why."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from unrolled.report import frames_deviations, hybrid_deviations
from unrolled.report.deviation import Deviation
from unrolled.report.settings import value_list

_REASONING = (
    Deviation(
        "The population of problems",
        "10,000 problems from one fixed true net, whose biases the paper does not give.",
        "Drawn anew from the paper's description, with standard normal biases; the default seed is the smallest whose "
        "true eigenvalues vary over the inputs as the released code's do. data.file reads the released arrays instead.",
        "Numbers differ from the paper's, as the problems do. Training on the released arrays agrees with the released "
        "code (make parity).",
    ),
    Deviation(
        "Random streams of a seed",
        "In the released code the training seed picks the training rows only; initial weights and batch order are the "
        "same for all seeds.",
        "A seed draws training rows, initial weights and batch order, each from a stream of its own.",
        "An interval over seeds then covers all of training's luck, not that of the rows alone.",
    ),
    Deviation(
        "The gap in excess of the true energy's",
        "The gap is test error minus training error.",
        "Claims about the gap use gap_excess: the gap less that of the same layer with the true energy, same training "
        "rows, same k and step size. The raw gap stands beside it.",
        "The raw gap holds the luck of the training rows, which is there even with the true energy and can exceed the "
        "effect in question at small k. Subtracting it pairs every run with its own control.",
    ),
    Deviation(
        "Learned step size",
        "The released code's phase that trains the step size never hands it to the optimiser.",
        "It is trained together with the net, as a sigmoid that maps onto the admissible range.",
        "NAG diverges above the upper border; the sigmoid keeps every trial where the theory speaks.",
    ),
    Deviation(
        "The RNN layer",
        "The paper gives the cell's formula; the released path for it does not run.",
        "Written from the formula with hidden width 2d, equal to one GD step at the start, trained with the net.",
        "Nothing to compare numbers with: only the paper's qualitative statements are checked.",
    ),
    Deviation(
        "Exact worst-case properties",
        "Rates of convergence, stability and sensitivity, up to constants.",
        "Exact values for quadratics, worst case over the spectrum, checked by finite differences on the layer. The "
        "rates are drawn beside them with one constant.",
        "The rates leave out constants, and NAG's convergence rate first rises with k where the algorithm does not.",
    ),
    Deviation(
        "Two stabilities",
        "One stability, bounding the change of the solution when the energy changes.",
        "The response to a change of Q, which the claims use, and the response to a change of b, drawn beside it.",
        "The net predicts Q, so that is the change that its error causes.",
    ),
    Deviation(
        "The standard bound",
        "A standard Rademacher bound is said to grow with k; no constants are given.",
        "It is read as the layer's stability alone, which grows with k, against stability times convergence.",
        "Only the order over k is compared, so constants do not matter.",
    ),
    Deviation(
        "Computation in the eigenbasis",
        "Products of matrices, step by step.",
        "The energy is quadratic and its rotation known, so k steps are a scalar polynomial of each eigenvalue. The "
        "explicit loop is kept and compared in the tests.",
        "The same function and the same loss, at a small fraction of the time.",
    ),
    Deviation(
        "Intervals and rules",
        "Curves are averages over 20 training seeds.",
        "Every mean has n and a 95 % bootstrap interval over seeds; solvers are compared in pairs of equal seed; the "
        "rule of each claim is in the scorecard.",
        "A claim is called reproduced only where its interval excludes the opposite.",
    ),
)


def _search(frame: pd.DataFrame) -> Deviation | None:
    """Describe the search that the records hold; the paper's own values are constants of the paper."""
    fits = frame[frame["optim.lr"].notna()] if "optim.lr" in frame else frame.iloc[:0]
    if fits.empty:
        return None
    return Deviation(
        "Optimisers, rates, epochs and seeds",
        "Adam and SGD; learning rates 1e-2, 5e-3, 1e-3, 5e-4, 1e-4; 50,000 epochs; 20 training seeds.",
        f"These records: optimiser {value_list(fits['optim.name'])}; learning rate {value_list(fits['optim.lr'])}; "
        f"{value_list(fits['optim.epochs'])} epochs; {fits['seed'].nunique()} training seeds.",
        "The scale of a run is a setting; scale=paper holds the paper's own grid.",
    )


def _best_of(frame: pd.DataFrame) -> Deviation | None:
    """Describe the choice among the runs of one cell and seed."""
    if "optim.lr" not in frame or not frame["optim.lr"].notna().any():
        return None
    return Deviation(
        "Which run counts",
        "Of the runs of one cell and seed, the one with the best training loss.",
        "The same, over the optimisers and learning rates in these records, among finished runs; the training loss is "
        "that of all training rows after an epoch, and the epoch where it is lowest counts.",
        "Fewer rates to choose from can leave a higher training error than the paper's.",
    )


def _images(frame: pd.DataFrame) -> Deviation | None:
    """Say that the image experiment is missing where all records are of the synthetic problem."""
    if set(frame["data.name"].dropna()) - {"quadratic"}:
        return None
    return Deviation(
        "Real images",
        "A denoising experiment on natural images, whose code was not released.",
        "Not among these records.",
        "Every statement of this page is about the synthetic problem.",
    )


THEORIES = ("reasoning", "frames", "hybrid")
"""Theories with departures to name, in the order of the report."""

_FROM_RECORDS: tuple[Callable[[pd.DataFrame], Deviation | None], ...] = (_search, _best_of, _images)


def deviations(frame: pd.DataFrame, theory: str) -> list[Deviation]:
    """Return the departures from the papers in the order in which they are numbered.

    Args:
        frame: records, one row a trial; scale and search are read from them.
        theory: one theory, or ``all``.

    Returns:
        Empty for a theory without entries or without records.
    """
    found: list[Deviation] = []
    own = {name: frame[frame["theory"] == name] for name in THEORIES if theory in (name, "all")}
    if "reasoning" in own and len(own["reasoning"]):
        found += _REASONING
        found += [entry for describe in _FROM_RECORDS if (entry := describe(own["reasoning"])) is not None]
    if "frames" in own and len(own["frames"]):
        searched = frames_deviations.search(own["frames"])
        found += [*frames_deviations.ENTRIES, *([searched] if searched else [])]
    if "hybrid" in own and len(own["hybrid"]):
        found += hybrid_deviations.deviations(own["hybrid"])
    return found
