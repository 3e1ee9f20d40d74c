"""The figures on hybrid nets, each with what the papers say about it.

Reference:
    Murdock, Cazenavette, Lucey, "Reframing Neural Networks: Deep Structure in Overcomplete Representations"
    (arXiv 2103.05804).
    Chen, Zhang, Reisinger, Song, "Understanding Deep Architectures with Reasoning Layer", NeurIPS 2020
    (arXiv 2006.13401).
"""

from __future__ import annotations

from unrolled.figures import hybrid_attack_draw as attack_draw
from unrolled.figures import hybrid_draw as draw
from unrolled.figures.frames import trained_structures
from unrolled.figures.hybrid_tables import attacked_nets, one_depth
from unrolled.figures.spec import Figure
from unrolled.records.select import HYBRID_CELL

THEORY = "hybrid"

DEPTH = "hybrid/depth"
STEP = "hybrid/step"
WIDTH = "hybrid/width"
WIDTH_MINIMUM = "hybrid/width_minimum"
ROBUST = "hybrid/robust"

_ALL = (
    Figure(
        name="unrolling_depth",
        theory=THEORY,
        title="Errors and gap against the number of sweeps",
        experiments=(DEPTH,),
        cell=HYBRID_CELL,
        metrics=("train_error", "test_error", "gap"),
        layout=draw.three_panels_a_data_set,
        draw=draw.unrolling_depth,
        shows=(
            "Training error, test error and gap (test minus training cross-entropy) of nets whose code comes from k "
            "sweeps of a solver, all with equal parameters; k = 1 is the feed-forward net for every solver."
        ),
        message=(
            "Iterated inference matches the accuracy of the feed-forward net. A faster algorithm approximates the "
            "training set better at equal k; how far the gap follows is a matter of stability and convergence."
        ),
        place="abstract of Reframing Neural Networks; approximation in the paper on reasoning layers",
        look="Whether the test error stays at its level at k = 1, and the order of the solvers at small k.",
    ),
    Figure(
        name="step_heatmap",
        theory=THEORY,
        title="Test error and gap over sweeps and step size",
        experiments=(STEP,),
        cell=HYBRID_CELL,
        metrics=("test_error", "gap"),
        layout=draw.panels_of_heat,
        draw=draw.step_heatmap,
        shows=(
            "Test error (above) and gap (below) over sweeps k and step size s, a factor on the safe step of the "
            "solver's inference; the colours of a row share one scale. White: no finished run."
        ),
        message=(
            "Convergence and stability of an algorithm depend on its steps and their size alike, so both should move "
            "error and gap along."
        ),
        place="table of convergence, stability and sensitivity in the paper on reasoning layers",
        look="Whether small steps and few sweeps look alike, and what steps above the safe one (s > 1) do.",
        intervals=False,
    ),
    Figure(
        name="width_skip",
        theory=THEORY,
        title="Test error, gap and minimum potential against width",
        experiments=(WIDTH,),
        untrained=(WIDTH_MINIMUM,),
        cell=HYBRID_CELL,
        metrics=("test_error", "gap"),
        layout=draw.three_panels_a_data_set,
        draw=draw.width_skip,
        shows=(
            "Hybrid nets by units a layer and kind of skip connections: test error, gap in cross-entropy, and the "
            "minimum potential of their structures, which needs no data."
        ),
        message=(
            "The lower the potential that a structure allows, the more stable its codes and the better it should "
            "generalise; denser skip connections lower it."
        ),
        place="abstract of the paper on dataless model selection",
        look=(
            "Whether the order of the kinds on the right is that of the gaps. A net of one width has potential 0 up "
            "to the width of its input, so only wider ones can be ranked."
        ),
        narrow=trained_structures,
    ),
    Figure(
        name="inference",
        theory=THEORY,
        title="Inference of trained nets, run beyond their sweeps",
        experiments=(DEPTH,),
        cell=HYBRID_CELL,
        metrics=("convergence",),
        layout=draw.two_panels_a_data_set,
        draw=draw.inference,
        shows=(
            "Objective and distance to the minimiser over the sweeps of the solver that a net was trained with, mean "
            "over test rows; the black line is where the net stops. Values below 1e-8 are not drawn."
        ),
        message=(
            "A net is a solver stopped early. Block proximal gradient and ISTA lower the objective in every sweep "
            "after the first, whose unit step makes it the feed-forward pass; run long, all reach the same minimum."
        ),
        place="inference algorithms of Reframing Neural Networks",
        look=(
            "How far from the minimiser the nets stop, and that no objective levels off above the others. The distance "
            "need not vanish where a net's minimiser is not unique."
        ),
        narrow=one_depth,
    ),
    Figure(
        name="robustness",
        theory=THEORY,
        title="Accuracy under attack",
        experiments=(ROBUST,),
        cell=HYBRID_CELL,
        metrics=("test_error",),
        layout=attack_draw.panels_of_attacks,
        draw=attack_draw.robustness,
        shows=(
            "Accuracy on the attacked test rows against the radius of the perturbation, by sweeps k. Solid and dashed: "
            "projected gradient descent (PGD) through all sweeps; dotted: one step (FGSM)."
        ),
        message="Iterated inference is more robust to adversarial perturbations than the feed-forward net.",
        place="abstract of Reframing Neural Networks",
        look=(
            "The order of k = 1 and the deepest nets in the middle of the range, and whether curves of equal clean "
            "accuracy part."
        ),
        narrow=attacked_nets,
    ),
    Figure(
        name="data_sets",
        theory=THEORY,
        title="Clean error, error under attack and gap on all data sets",
        experiments=(ROBUST,),
        cell=HYBRID_CELL,
        metrics=("test_error",),
        layout=attack_draw.panels_by_data,
        draw=attack_draw.all_data_sets,
        shows=(
            "Clean test error, error under PGD at the middle radius of each norm, and gap in error (test minus "
            "training), against sweeps k, one panel a data set."
        ),
        message=(
            "What iteration does to accuracy and to robustness should not depend on the data set; the paper claims "
            "both in general."
        ),
        place="abstract of Reframing Neural Networks",
        look="Whether the curves of every quantity run the same way on all data sets.",
        narrow=attacked_nets,
    ),
    Figure(
        name="masking",
        theory=THEORY,
        title="Are gradients masked? Error against the steps of the attack",
        experiments=(ROBUST,),
        cell=HYBRID_CELL,
        metrics=("robust_far_linf",),
        layout=attack_draw.panels_of_masking,
        draw=attack_draw.masking,
        shows=(
            "Error under PGD against its number of steps at the middle radius in the l-infinity norm, and under a "
            "random search without gradients (dotted levels); titles give the smallest error at a very large radius."
        ),
        message=(
            "Where gradients mislead an attack, robustness is an artefact: then a random search finds more than PGD, "
            "more steps find no more, or a very large perturbation fails."
        ),
        place="behaviours listed by Athalye, Carlini and Wagner (arXiv 1802.00420)",
        look="Curves rise with the steps and level off above the dotted line of their colour.",
        narrow=attacked_nets,
    ),
)

FIGURES: dict[str, Figure] = {figure.name: figure for figure in _ALL}
"""Every figure of this theory by name, in the order of the report."""
