"""The sequential twin: one reasoning-layer trial as one would write it, to measure the packed trainer against.

One ``nn.Module``, one ``torch.optim`` optimiser, k explicit d x d products, an evaluation of the training rows after
every epoch. It is also the naive twin that tests compare losses with.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from unrolled.data.quadratic import QuadraticProblems


class SequentialTwin(nn.Module):
    """One eigenvalue net with an unrolled GD or NAG layer on explicit matrices.

    Args:
        problems: the data set.
        solver: ``gd`` or ``nag``.
        width: hidden units, 0 for a linear net.
        steps: unrolled steps k.
        step_size: s.
    """

    def __init__(self, problems: QuadraticProblems, solver: str, width: int, steps: int, step_size: float) -> None:
        super().__init__()
        inputs, middle = problems.inputs.shape[1], problems.linear.shape[1] - 2
        self.net = (
            nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, middle))
            if width
            else nn.Linear(inputs, middle)
        )
        self.mu, self.smooth = problems.strong_convexity, problems.smoothness
        u = math.sqrt(self.mu * step_size)
        self.momentum = (1 - u) / (1 + u) if solver == "nag" else 0.0
        self.steps, self.step_size = steps, step_size

    def forward(self, x: Tensor, q: Tensor, b: Tensor) -> Tensor:
        """Return the estimate ``(B, d)`` for inputs ``(B, D_in)``, rotations ``(B, d, d)`` and terms ``(B, d)``."""
        middle = self.mu + (self.smooth - self.mu) * torch.softmax(self.net(x), dim=-1)
        ends = middle.new_tensor([self.smooth, self.mu]).expand(len(x), 2)
        e = torch.cat([ends[:, :1], middle, ends[:, 1:]], dim=1)
        matrix = q @ torch.diag_embed(e) @ q.mT
        b = b[..., None]  # columns throughout: a view a step would cost as much as the product
        y = z = torch.zeros_like(b)
        for _ in range(self.steps):
            new = z - self.step_size * (matrix @ z - b)
            z = new + self.momentum * (new - y) if self.momentum else new
            y = new
        return y[..., 0]


def train_twin(model: SequentialTwin, problems: QuadraticProblems, rows: Tensor, epochs: int, batch: int) -> float:
    """Train with Adam as the released code does; return the lowest training loss of an epoch.

    Args:
        model: what is trained.
        problems: the data set.
        rows: ``(n,)`` training rows.
        epochs: passes over them.
        batch: rows of an update.

    Returns:
        The mean Euclidean distance to y* after the best epoch.
    """
    columns = (problems.inputs, problems.rotation, problems.linear, problems.solution)
    x, q, b, target = (torch.as_tensor(a[rows.numpy()], dtype=torch.float32) for a in columns)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=1e-4)
    best = math.inf
    for _ in range(epochs):
        for part in torch.randperm(len(rows)).split(batch):
            optimizer.zero_grad()
            loss = torch.linalg.vector_norm(model(x[part], q[part], b[part]) - target[part], dim=1).mean()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            best = min(best, float(torch.linalg.vector_norm(model(x, q, b) - target, dim=1).mean()))
    return best
