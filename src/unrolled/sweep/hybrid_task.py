"""The task of hybrid nets: classifiers on deep sparse codes that an unrolled solver infers, trained and attacked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from unrolled.config.check import Flat
from unrolled.data import LabelledImages
from unrolled.frames.structure import Structure
from unrolled.measures.inference import inference_measures
from unrolled.networks.frames import FrameClassifiers
from unrolled.networks.hybrid import HybridClassifiers, Inference
from unrolled.sweep.frames_tasks import UNWEIGHTED, ClassifyTask, Fitted
from unrolled.sweep.task import Metrics, RunContext

_SOLVER = ("name", "steps", "step_size", "learn_step_size", "step_rule", "first_step", "differentiation")
_ATTACK = ("linf", "l2", "steps", "restarts", "rows")

SWEEP_PRODUCTS = 3
"""Products with the Gram matrix, or with the blocks and their transposes, that a sweep costs, about."""


class HybridTask(ClassifyTask):
    """Train hybrid classifiers, and measure what they learned, how their inference converges, and what fools them."""

    name = "hybrid"
    version = 1
    identity = ClassifyTask.identity | {f"solver.{name}" for name in _SOLVER} | {f"attack.{name}" for name in _ATTACK}
    packable = ClassifyTask.packable | {"solver.step_size"}

    def resolve(self, config: Flat) -> tuple[Flat, str]:
        """Fill in what follows from the data, and leave out how rows are attacked where none is."""
        resolved, checksum = super().resolve(config)
        if config["attack.linf"] is None and config["attack.l2"] is None:
            resolved |= dict.fromkeys(f"attack.{name}" for name in _ATTACK)
        return resolved, checksum

    def cost(self, config: Flat) -> float:
        """Return multiply-adds of all updates, and of the measures."""
        sweeps = 1 + SWEEP_PRODUCTS * config["solver.steps"]
        attacked = config["attack.rows"] * config["attack.steps"] * 40 if config["attack.rows"] else 0
        rows = config["optim.epochs"] * config["data.n_train"] * 4 + attacked
        return float(config["network.work"] * sweeps * rows)

    def memory(self, config: Flat) -> int:
        """Return the bytes of the values of one update."""
        return super().memory(config) * (1 + config["solver.steps"])

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
        return found | inference_measures(ensemble, fitted.weights, fitted.test_rows)

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
