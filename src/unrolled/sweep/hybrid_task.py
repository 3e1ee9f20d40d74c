"""The task of hybrid nets: classifiers on deep sparse codes that an unrolled solver infers, trained and attacked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from unrolled.config.check import Flat
from unrolled.data import LabelledImages
from unrolled.frames.structure import Structure
from unrolled.measures.inference import inference_measures
from unrolled.measures.robustness import in_raw_units, robustness
from unrolled.networks.frames import FrameClassifiers
from unrolled.networks.hybrid import HybridClassifiers, Inference
from unrolled.sweep.frames_tasks import (
    COPIES,
    FLOAT_BYTES,
    UNWEIGHTED,
    ClassifyTask,
    Fitted,
    labelled_of,
    structure_of,
)
from unrolled.sweep.task import Metrics, RunContext

_SOLVER = ("name", "steps", "step_size", "learn_step_size", "step_rule", "first_step", "differentiation")
_ATTACK = ("linf", "l2", "steps", "restarts", "rows")

SWEEP_PRODUCTS = 2
"""Products with all blocks, or half the products with the Gram matrix, that a sweep costs, about."""

ATTACKS = 60
"""Passes forward and backward that attacks cost a row for each step of PGD, about: radii, norms, restarts, checks."""

MEASURED_SWEEPS = 1e5
"""Sweeps of single rows that the measures of inference cost, about."""


class HybridTask(ClassifyTask):
    """Train hybrid classifiers, and measure what they learned, how their inference converges, and what fools them."""

    name = "hybrid"
    version = 1
    identity = ClassifyTask.identity | {f"solver.{name}" for name in _SOLVER} | {f"attack.{name}" for name in _ATTACK}
    packable = ClassifyTask.packable | {"solver.step_size"}

    def resolve(self, config: Flat) -> tuple[Flat, str]:
        """Fill in what follows from the data, and leave out what has no influence."""
        resolved, checksum = super().resolve(config)
        if config["solver.name"] == "admm":
            # Its penalty is 1 / step_size under both rules.
            resolved["solver.step_rule"] = "relative"
        resolved["network.atoms"] = structure_of(config, labelled_of(config).shape).atoms
        if config["attack.linf"] is None and config["attack.l2"] is None:
            resolved |= dict.fromkeys(f"attack.{name}" for name in _ATTACK)
        return resolved, checksum

    def cost(self, config: Flat) -> float:
        """Return multiply-adds of all updates, of the long runs that measure inference, and of attacks."""
        own = config["network.work"]
        sweep = SWEEP_PRODUCTS * min(config["network.atoms"] ** 2, own)
        forward = own + sweep * config["solver.steps"]
        trained = config["optim.epochs"] * config["data.n_train"] * 4
        attacked = ATTACKS * config["attack.steps"] * config["attack.rows"] if config["attack.rows"] else 0
        return float(forward * (trained + attacked) + MEASURED_SWEEPS * sweep)

    def memory(self, config: Flat) -> int:
        """Return the bytes of the codes of all sweeps of one update, or of a step of an attack with all restarts."""
        attacked = config["attack.rows"] * config["attack.restarts"] if config["attack.rows"] else 0
        rows = max(config["optim.batch_size"], attacked)
        return int(FLOAT_BYTES * COPIES * rows * config["network.atoms"] * (1 + config["solver.steps"]))

    def ensemble(
        self, structure: Structure, data: LabelledImages, configs: Sequence[Flat], device: str
    ) -> HybridClassifiers:
        """Return the pack's nets."""
        first = {name: configs[0][f"solver.{name}"] for name in _SOLVER}
        return HybridClassifiers(
            structure,
            np.concatenate([data.train_inputs, data.test_inputs]),
            np.concatenate([data.train_labels, data.test_labels]),
            data.classes,
            Inference(
                first["name"],
                first["steps"],
                first["step_rule"],
                first["first_step"],
                first["differentiation"],
                first["learn_step_size"],
            ),
            [c["solver.step_size"] for c in configs],
            [c["optim.potential_weight"] for c in configs],
            [c["optim.potential"] or UNWEIGHTED for c in configs],
            device=device,
        )

    def measures(
        self, ensemble: FrameClassifiers, fitted: Fitted, data: LabelledImages, configs: Sequence[Flat]
    ) -> dict[str, torch.Tensor]:
        """Return the measures of classifiers, of inference, and of attacks where the config has them."""
        assert isinstance(ensemble, HybridClassifiers)
        found = super().measures(ensemble, fitted, data, configs)
        found |= inference_measures(ensemble, fitted.weights, fitted.test_rows)
        if configs[0]["attack.rows"] is None:
            return found
        return found | attacked(ensemble, fitted, data, configs)

    def run(self, configs: Sequence[Flat], context: RunContext) -> list[Metrics]:
        """Fit the pack; say what may have failed where gradients were those of a fixed point."""
        rows = super().run(configs, context)
        if configs[0]["solver.differentiation"] == "implicit":
            for row in rows:
                if row["status"] == "diverged":
                    row["error"] += (
                        "; implicit differentiation needs codes that converge in solver.steps sweeps: raise them, or "
                        "take solver.differentiation=unrolled"
                    )
        return rows


def attacked(
    ensemble: HybridClassifiers, fitted: Fitted, data: LabelledImages, configs: Sequence[Flat]
) -> dict[str, torch.Tensor]:
    """Return the errors of the first test rows under attack, name -> ``(R, ...)``; what was not asked for is absent."""
    first = {name: configs[0][f"attack.{name}"] for name in _ATTACK}
    inputs = torch.as_tensor(data.test_inputs[: first["rows"]]).to(ensemble.device)
    labels = torch.as_tensor(data.test_labels[: first["rows"]]).to(ensemble.device)
    replicas = ensemble.replicas
    own = inputs.expand(replicas, *inputs.shape)
    weights = {name: w.detach() for name, w in fitted.weights.items()}
    scores, raw = in_raw_units(lambda x: ensemble.scores(weights, x), own, data.mean, data.deviation)
    box = (0.0, 1.0) if data.pixels else (None, None)
    with ensemble.holding(weights):
        found = robustness(
            scores,
            raw,
            labels.expand(replicas, -1),
            linf=first["linf"],
            l2=first["l2"],
            steps=first["steps"],
            restarts=first["restarts"],
            seeds=[c["seed"] for c in configs],
            low=box[0],
            high=box[1],
        )
    kept = {name: torch.as_tensor(value, dtype=torch.float64) for name, value in found.items() if value is not None}
    # Radii and numbers of steps are those of all replicas.
    return {n: v if len(v.shape) == 2 or n == "robust_far_linf" else v.expand(replicas, -1) for n, v in kept.items()}
