"""Random rotations, drawn without the start-up time of ``scipy.stats``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def random_rotations(draw: np.random.Generator, count: int, dimension: int) -> NDArray[np.float64]:
    r"""Draw rotations from the Haar distribution on SO(d).

    With :math:`G = QR` for a matrix G of standard normal entries, :math:`Q\,\mathrm{diag}(\mathrm{sign}(R_{ii}))` is
    Haar-distributed on O(d). Its first row divided by its determinant, which is 1 or -1, makes it a rotation.

    Args:
        draw: source of randomness; ``count * d * d`` normal numbers are taken.
        count: number N of rotations, >= 1.
        dimension: d >= 1.

    Returns:
        ``(N, d, d)`` orthogonal matrices of determinant 1, the same bits as ``scipy.stats.special_ortho_group``.

    Reference:
        Mezzadri 2007 (arXiv math-ph/0609050), section 5.
    """
    q, r = np.linalg.qr(draw.normal(size=(count, dimension, dimension)))
    diagonal = r.diagonal(axis1=-2, axis2=-1)  # (N, d)
    q *= (diagonal / abs(diagonal))[:, None, :]
    q[:, 0, :] /= np.linalg.det(q)[:, None]
    return np.asarray(q, dtype=np.float64)
