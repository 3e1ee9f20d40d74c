"""The figures of the reasoning-layer paper, each with what the paper says about it.

Reference:
    Chen, Zhang, Reisinger, Song, "Understanding Deep Architectures with Reasoning Layer", NeurIPS 2020
    (arXiv 2006.13401).
"""

from __future__ import annotations

from unrolled.figures import reasoning_draw as draw
from unrolled.figures.spec import Figure

THEORY = "reasoning"

GENERALIZATION = "reasoning/generalization"
RNN = "reasoning/rnn"

_ALL = (
    Figure(
        name="algorithm_properties",
        theory=THEORY,
        title="Convergence, stability and sensitivity of the algorithm layers",
        experiments=("reasoning/properties",),
        metrics=("cvg_exact", "stab_exact", "stab_b_exact", "sens_exact"),
        layout=draw.four_panels,
        draw=draw.algorithm_properties,
        shows=(
            "Properties of k steps of GD and NAG on quadratics at step size s = {step_size}. Lines: exact worst case "
            "over the spectrum; markers: finite differences on the layer (deterministic, so no interval); dotted: the "
            "paper's rate times one constant a panel and solver, matched at the largest exact value."
        ),
        message=(
            "Both solvers converge geometrically, NAG faster. Stability, the response of the solution to a change of "
            "the energy, grows from nothing to that of the exact minimiser as k grows. Sensitivity, the response to a "
            "change of the step size, first rises and then dies out."
        ),
        place="section 3, table of rates",
        look=(
            "Markers must lie on the exact lines. The rates are orders in k and speak about the end of the curves, not "
            "the start: NAG's rate of convergence rises until k = 3 and its rate of stability falls first; compare the "
            "exact curves."
        ),
        best=False,
        narrow=draw.one_step_size,
    ),
    Figure(
        name="training_error",
        theory=THEORY,
        title="Faster convergence, better approximation",
        experiments=(GENERALIZATION, RNN),
        metrics=("train_loss",),
        layout=draw.panels_by_width,
        draw=draw.training_error,
        shows=(
            "Training error against k with the step size fixed at s = {step_size}. Dotted: Cvg(k) scaled to the first "
            "point of its solver."
        ),
        message=(
            "The faster the algorithm converges, the better the trained layer approximates: the error falls with k "
            "and NAG's lies at or below GD's. With too small a net the error stops at a floor that no k lowers."
        ),
        place="section 4 and the experiments on approximation",
        look=(
            "How far each curve follows its dotted line before the net's own error stops it, and whether NAG stays at "
            "or below GD; without a hidden layer, whether the curves level off."
        ),
    ),
    Figure(
        name="representation_error",
        theory=THEORY,
        title="Faster convergence, better representation",
        experiments=(GENERALIZATION,),
        metrics=("representation_error",),
        layout=draw.panels_by_width,
        draw=draw.representation_error,
        shows=(
            "Distance of the learned to the true quadratic form, averaged over the population, against k (s = "
            "{step_size}). Dotted: Cvg(k) scaled to the first point of its solver."
        ),
        message=(
            "An algorithm that stops far from the minimum pushes the net to distort the energy. So at equal k, where "
            "the error is not yet gone, the energy learned through NAG is closer to the true one."
        ),
        place="section 4 and the experiments on representation",
        look="Compare the two solvers at equal k; whether both end at the same level shows where the net is the limit.",
    ),
    Figure(
        name="generalization_gap",
        theory=THEORY,
        title="The generalisation gap follows stability times convergence",
        experiments=(GENERALIZATION, RNN),
        metrics=("gap_excess", "gap"),
        layout=draw.panels_with_rnn,
        draw=draw.generalization_gap,
        shows=(
            "Test minus training error against k (s = {step_size}): in front the excess gap, that is the gap less that "
            "of the same layer with the true energy on the same rows; pale the raw gap. Dotted: Stab(k)·Cvg(k) of GD "
            "and NAG, scaled by one least-squares factor a panel and solver."
        ),
        message=(
            "The gap is bounded by a product of stability, which grows with k, and convergence, which falls. With a "
            "net of about the right size it rises and then falls, and NAG turns down earlier. An over-parameterised "
            "net shows the rise, an under-parameterised one a gap that stays. A trained RNN cell approximates well "
            "and generalises worse."
        ),
        place="sections 5 and 6 and the experiments on generalisation",
        look=(
            "The measured curves against the dotted ones, and the k of the highest point, which the paper expects "
            "earlier for NAG than for GD. The pale raw gap holds the luck of the training rows as well."
        ),
    ),
    Figure(
        name="learned_step_size",
        theory=THEORY,
        title="The learned step size",
        experiments=("reasoning/learned_step",),
        metrics=("learned_step",),
        layout=draw.panels_by_width,
        draw=draw.learned_step_size,
        shows=(
            "Step size learned together with the net, in use at the epoch of the lowest training error; dots are "
            "seeds. Dotted: borders of the admissible range."
        ),
        message=(
            "The step size is a parameter of the algorithm layer. It is to stay where the algorithm is stable, and "
            "the layer's sensitivity to it dies out with k, so learning it costs little generalisation."
        ),
        place="section 3 (ranges of the step size) and section 5",
        look="Whether any dot crosses a border; dots at one say that training wanted to go on in that direction.",
    ),
    Figure(
        name="gap_against_n",
        theory=THEORY,
        title="The gap against the number of training rows",
        experiments=("reasoning/training_size",),
        metrics=("gap_excess", "gap"),
        layout=draw.panels_by_steps,
        draw=draw.gap_against_n,
        shows=(
            "Test minus training error against the number of training rows: in front the excess gap, that is the gap "
            "less that of the same layer with the true energy on the same rows; pale the raw gap. Dotted: the "
            "square-root law of the bound, scaled by one least-squares factor a panel and solver."
        ),
        message="The bound on the gap falls with the number of training rows, to first order like one over its root.",
        place="section 5, generalisation bound",
        look="Whether the measured gap falls like the dotted line, or faster once the rows determine the energy.",
    ),
)

FIGURES: dict[str, Figure] = {figure.name: figure for figure in _ALL}
"""Every figure of this theory by name, in the order of the report."""
