"""Where the work on deep frames departs from the papers."""

from __future__ import annotations

import pandas as pd

from unrolled.report.deviation import Deviation
from unrolled.report.settings import value_list

ENTRIES = (
    Deviation(
        "Deep frames: orientation of skip connections",
        "Figures of zero patterns and plotted values; which block of the dictionary holds a skip connection, and with "
        "which coefficient, is not stated for residual and dense nets.",
        "Synthesis by default: layer j's skip is minus the identity at block (j + 2, j) for odd j (residual_all: "
        "every j), and dense nets have learned blocks below it. The analysis form, whose sweep is the residual net's "
        "formula, is there as the kinds *_front. So a residual net here adds the skip to what the next layer reads.",
        "The plotted potentials of residual nets lie below what the analysis form allows. The figures "
        "settle the form of chains.",
    ),
    Deviation(
        "Deep frames: the scale of the potential",
        "The axis of the figures is not defined in words.",
        "F = sqrt(F2 / N): the sum of squared inner products of distinct normalised columns over the number of pairs "
        "that share a block row; free column lengths; the classifier is not counted.",
        "This reading reproduces the dots of the figure on fully connected nets to 0.4 %; the alternatives are off by "
        "1 % to several times.",
    ),
    Deviation(
        "Deep frames: how minima are found",
        "Single numerical runs, as far as the figures show: some dots are at local minima.",
        "Closed forms and bounds where they hold, else the lowest of several numerical runs; a structure's minimum "
        "is the lowest value in the records.",
        "Minima can be lower than the papers', most of all for deep convolutional chains, some of which have "
        "minimum 0.",
    ),
    Deviation(
        "Deep frames: circular padding",
        "Ordinary convolutions of image classifiers, so presumably zero padding.",
        "Circular padding, in the networks and in their dictionaries.",
        "The dictionary is then shift invariant and its potential does not depend on the size of the grid. Zero "
        "padding gives a slightly larger potential.",
    ),
    Deviation(
        "Deep frames: batch normalisation",
        "The convolutional nets' parameter counts contain it.",
        "Convolutional nets normalise each channel over the batch before its ReLU, with a learned scale and shift; "
        "when a net is judged, over 256 of its training images under its final weights, not by running averages. Fully "
        "connected nets have biases alone.",
        "The potential does not change with the length of a learned column, so the scale takes nothing from it; what a "
        "net computes depends on its weights alone.",
    ),
    Deviation(
        "Deep frames: the potential in the loss",
        "Neither the weight nor the schedule of the regularisation is given.",
        "A constant weight, times F squared of the network's own weights by default; the settings table shows both.",
        "A different weight may change how much regularisation helps; the figure on the potential during training "
        "shows several.",
    ),
    Deviation(
        "Deep frames: when training stops",
        "Not stated.",
        "After as many epochs as optim.patience says without a drop of the training loss by 1 %, or at the last epoch.",
        "A plateau of the training loss needs no held-out images. Small and large networks may stop at different "
        "times.",
    ),
    Deviation(
        "Deep frames: parameter counts",
        "The colour of the figure on fully connected nets counts hidden weights without the input layer; the figure on "
        "parameter efficiency counts weights, batch normalisation and classifier.",
        "Network parameters: filters of all learned blocks, one bias a channel and the classifier; the second vector "
        "of a normalisation is left out. Claims compare their order only.",
        "At equal widths the counts differ by terms that do not change the order within a family.",
    ),
    Deviation(
        "Deep frames: the papers' numbers",
        "Figures, no tables.",
        "Values of the papers are read off their figures: potentials to about 0.0003, errors to about 0.003.",
        "They set the scale of the comparison, and rank correlations hardly feel such errors.",
    ),
    Deviation(
        "Deep frames: the error",
        "Validation error.",
        "Share of the data set's test images classified wrongly. No setting is chosen by it: of several rates the one "
        "with the lowest training loss counts.",
        "With nothing chosen on them, test images serve as validation images.",
    ),
)
"""The departures that do not depend on the records."""


def search(frame: pd.DataFrame) -> Deviation | None:
    """Describe data sets, weights and search as the records hold them; None without trained nets.

    Args:
        frame: the theory's records, one row a trial.
    """
    nets = frame[frame["train_loss"].notna()] if "train_loss" in frame else frame.iloc[:0]
    if nets.empty:
        return None
    return Deviation(
        "Deep frames: data sets, weights and seeds",
        "CIFAR-10 in the figures, several data sets in the second paper; optimiser, rates and seeds are not stated.",
        f"These records: {value_list(nets['data.name'])}; potential weight "
        f"{value_list(nets['optim.potential_weight'])}; "
        f"optimiser {value_list(nets['optim.name'])}; learning rate {value_list(nets['optim.lr'])}; "
        f"{value_list(nets['optim.epochs'])} epochs; {nets['seed'].nunique()} training seeds.",
        "Small data sets let a laptop train many shapes; scale=paper holds CIFAR-10.",
    )
