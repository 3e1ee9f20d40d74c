"""The figures of the papers on deep frame potentials, each with what the papers say about it.

Reference:
    Murdock, Lucey, "Dataless Model Selection with the Deep Frame Potential", CVPR 2020 (arXiv 2003.13866).
    Murdock, Cazenavette, Lucey, "Reframing Neural Networks: Deep Structure in Overcomplete Representations"
    (arXiv 2103.05804).
"""

from __future__ import annotations

import pandas as pd

from unrolled.figures import frames_draw as draw
from unrolled.figures.frames_tables import one_gram_shape
from unrolled.figures.spec import Figure, UndrawableError
from unrolled.records.select import NET_CELL

THEORY = "frames"

FULLY_CONNECTED = "frames/fully_connected"
FULLY_CONNECTED_MINIMUM = "frames/fully_connected_minimum"
CONVOLUTIONAL = "frames/convolutional"
CONVOLUTIONAL_MINIMUM = "frames/convolutional_minimum"
DENSE = "frames/dense"
DENSE_MINIMUM = "frames/dense_minimum"


def without_regularisation(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep nets that were trained without the potential, and the records of minima.

    Raises:
        UndrawableError: all nets were regularised.
    """
    weights = rows["optim.potential_weight"].astype(float).fillna(0.0)
    kept = rows[weights == 0]
    if not kept["train_loss"].notna().any():
        raise UndrawableError(
            "all nets in the records were trained with regularisation: run potential weight 0 as well"
        )
    return trained_structures(kept)


def trained_structures(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep trained nets, and of the records of minima those of their structures."""
    nets = rows[rows["train_loss"].notna()]
    known = set(zip(nets["structure"], nets["parameters"], strict=True))
    return rows[[pair in known for pair in zip(rows["structure"], rows["parameters"], strict=True)]]


_ALL = (
    Figure(
        name="gram_patterns",
        theory=THEORY,
        title="Skip connections fill the Gram matrix",
        experiments=("frames/gram",),
        metrics=("f_min",),
        layout=draw.panels_of_kinds,
        draw=draw.gram_patterns,
        shows=(
            "Gram matrices of one small fully connected shape by kind of skip connections. Above: entries that may be "
            "non-zero (grey), from the blocks of the dictionary alone. Below: their absolute values at the minimum of "
            "the potential; white entries are structurally 0, the diagonal is 1. Red lines part the layers."
        ),
        message=(
            "A chain's atoms meet those of the next layers only, so most of its Gram matrix is empty. Skip connections "
            "let more atoms meet. The same total of inner products then spreads over more entries, and the minimum "
            "potential falls."
        ),
        place="figure of structures and Gram patterns",
        look="The grey area grows from chain to dense, the root mean square below (min F) falls.",
        best=False,
        narrow=one_gram_shape,
    ),
    Figure(
        name="coherence_and_potential",
        theory=THEORY,
        title="Coherence and potential of random, trained and minimal dictionaries",
        experiments=(FULLY_CONNECTED,),
        untrained=(FULLY_CONNECTED_MINIMUM,),
        metrics=("f_trained", "coherence_trained"),
        layout=draw.panels_by_data,
        draw=draw.coherence_and_potential,
        shows=(
            "Coherence against deep frame potential of fully connected nets, logarithmic axes: random dictionaries "
            "(means over draws), trained nets (every finished run a mark), and minima. Dotted: equality, reached where "
            "all possible inner products have one size."
        ),
        message=(
            "Low coherence makes sparse codes unique, but is hard to optimise; the potential is its mean square "
            "counterpart and lies below it. Structures differ in how low it can be."
        ),
        place="definition of the deep frame potential",
        look=(
            "No mark lies below the dotted line. Regularised nets stand between random ones and the minima; how far "
            "the minima are from the line shows how uneven their inner products are."
        ),
        best=False,
    ),
    Figure(
        name="error_against_minimum",
        theory=THEORY,
        title="Test error against minimum potential, fully connected nets",
        experiments=(FULLY_CONNECTED,),
        untrained=(FULLY_CONNECTED_MINIMUM,),
        cell=NET_CELL,
        metrics=("test_error", "f_min"),
        layout=draw.panels_by_regularisation,
        draw=draw.error_against_minimum,
        shows=(
            "Each dot is a shape: test error, vertical bars its interval, against the minimum potential that its "
            "structure allows; colour is the size of the network. Shapes whose minimum is 0 are left out."
        ),
        message=(
            "The potential that a structure allows, computed without data, predicts which fully connected nets "
            "generalise. Without regularisation the largest nets fail and break the order; with the potential in the "
            "loss the order is close. Rank correlations read off the paper's figure: .57 over 72 nets without, .87 "
            "over 60 nets with regularisation, on CIFAR-10."
        ),
        place="figure of validation error against minimum deep frame potential",
        look=(
            "Compare the two columns, above all the largest nets (light colours) at the left. Colour runs along with "
            "the potential: how much min F says beyond the number of parameters stands beside claim C1."
        ),
        narrow=trained_structures,
    ),
    Figure(
        name="parameter_efficiency",
        theory=THEORY,
        title="Minimum potential and error against parameters",
        experiments=(CONVOLUTIONAL, DENSE),
        untrained=(CONVOLUTIONAL_MINIMUM, DENSE_MINIMUM),
        cell=NET_CELL,
        metrics=("test_error", "f_min"),
        layout=draw.panels_of_efficiency,
        draw=draw.parameter_efficiency,
        shows=(
            "Convolutional nets without regularisation by kind of skip connections; thin lines join nets of one width "
            "b over the number of blocks. Left: minimum potential. Right: test error with its interval."
        ),
        message=(
            "Residual and dense nets reach a lower minimum potential, and a lower error, with no more parameters than "
            "chains."
        ),
        place="figure on parameter efficiency",
        look=(
            "At equal parameters, the order of the three kinds on both sides. In the paper's own figure the residual "
            "net is the lower one in 26 of 32 pairs."
        ),
        narrow=without_regularisation,
    ),
    Figure(
        name="depth",
        theory=THEORY,
        title="Error and minimum potential against depth",
        experiments=(CONVOLUTIONAL,),
        untrained=(CONVOLUTIONAL_MINIMUM,),
        cell=NET_CELL,
        metrics=("test_error", "f_min"),
        layout=draw.panels_of_depth,
        draw=draw.depth,
        shows=(
            "Convolutional nets without regularisation, one column a width b of the first group, against the blocks n "
            "of a group. Above: test error with its interval. Below: minimum potential."
        ),
        message=(
            "The error of chains turns up with depth while that of residual and dense nets keeps falling or levels "
            "off. The minimum potential of all kinds falls, so it does not see that deep chains are hard to train."
        ),
        place="figure on parameter efficiency; claims on scalability with depth",
        look="Where the chain's error turns up, and that its potential does not.",
        narrow=without_regularisation,
    ),
    Figure(
        name="potential_in_training",
        theory=THEORY,
        title="The potential during training",
        experiments=("frames/weight",),
        untrained=(FULLY_CONNECTED_MINIMUM,),
        cell=NET_CELL,
        metrics=("f_trained",),
        layout=draw.panels_of_structures,
        draw=draw.potential_in_training,
        shows=(
            "Potential of the network's own weights during training for several weights of the potential in the loss; "
            "a run that stopped early keeps its last value. Dotted: the structure's minimum, where it is known."
        ),
        message=(
            "Random weights are well above the minimum. With the potential in the loss training brings it down towards "
            "the minimum; the papers give neither weight nor schedule."
        ),
        place="section on regularisation",
        look="Larger weights end lower, none below the dotted line.",
        narrow=trained_structures,
    ),
)

FIGURES: dict[str, Figure] = {figure.name: figure for figure in _ALL}
"""Every figure of this theory by name, in the order of the report."""
