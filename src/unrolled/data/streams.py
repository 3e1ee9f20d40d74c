"""Random streams keyed by seed and purpose, so that no draw depends on what else was drawn.

A replica owns one stream for every purpose. The order of rows comes from a counter-based hash instead of a stateful
generator: the order of any epoch can be had without the epochs before it, by any backend, for any number of replicas.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PURPOSES = {"problems": 0, "rows": 1, "weights": 2, "order": 3, "noise": 4, "probes": 5, "attack": 6}
"""Numbers that enter the key; never renumber them, as results would change."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)

TOGETHER = 8192
"""Permutations that are drawn together: enough to hide the cost of a call, few enough for the cache."""


def generator(seed: int, purpose: str) -> np.random.Generator:
    """Return a fresh generator for one seed and purpose.

    Args:
        seed: any integer >= 0; 0 is a seed like any other.
        purpose: a key of :data:`PURPOSES`.

    Returns:
        Philox generator whose draws depend on nothing but the two arguments.

    Raises:
        ValueError: a negative seed or an unknown purpose.
    """
    return np.random.Generator(np.random.Philox(_sequence(seed, purpose)))


def stream_key(seed: int, purpose: str) -> int:
    """Return the 64-bit key of a counter-based stream, for :func:`shuffled_rows`."""
    return int(_sequence(seed, purpose).generate_state(1, np.uint64)[0])


def _sequence(seed: int, purpose: str) -> np.random.SeedSequence:
    if seed < 0:
        raise ValueError(f"seed: expected an integer >= 0, got {seed}")
    if purpose not in PURPOSES:
        raise ValueError(f"purpose: expected one of {', '.join(PURPOSES)}, got {purpose!r}")
    return np.random.SeedSequence(seed, spawn_key=(PURPOSES[purpose],))


def shuffled_rows(keys: NDArray[np.uint64], epochs: range, rows: int) -> NDArray[np.int64]:
    r"""Return the order in which each replica visits its rows in each epoch.

    Fisher-Yates from the last position down; position i of epoch t swaps with
    :math:`j = \lfloor h\,(i + 1) / 2^{32} \rfloor`, where h is the upper half of the splitmix64 hash of
    key + (t rows + i + 1) times the golden-ratio constant.

    Args:
        keys: ``(R,)`` keys of the replicas, from :func:`stream_key`.
        epochs: epoch numbers, counted from 0.
        rows: number n of rows of each replica.

    Returns:
        ``(R, len(epochs), n)`` permutations of 0..n-1.

    Reference:
        Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators" (the hash).
    """
    distinct, which = np.unique(keys, return_inverse=True)
    epoch = np.asarray(list(epochs), dtype=np.uint64)
    with np.errstate(over="ignore"):
        starts = (distinct[:, None] + (epoch * np.uint64(rows))[None, :] * _GOLDEN).reshape(-1)
        parts = [_permutations(starts[i : i + TOGETHER], rows) for i in range(0, len(starts), TOGETHER)]
    orders = np.concatenate([np.empty((0, rows), np.int64), *parts])
    return orders.reshape(len(distinct), len(epochs), rows)[which.reshape(-1)]


def _permutations(starts: NDArray[np.uint64], rows: int) -> NDArray[np.int64]:
    """Return ``(m, n)`` permutations; position i of each draws from the hash of its start + (i + 1) golden ratios."""
    m = len(starts)
    order = np.repeat(
        np.arange(rows, dtype=np.int32), m
    )  # position by position: each is swapped in all permutations at once
    lane, counter, scratch = np.arange(m), starts + np.uint64(rows) * _GOLDEN, np.empty_like(starts)
    for i in range(rows - 1, 0, -1):
        draw = _splitmix64(counter, scratch)
        draw >>= _HALF
        draw *= np.uint64(i + 1)
        draw >>= _HALF
        place = draw.view(np.int64)
        place *= m
        place += lane
        here, there = order[i * m : (i + 1) * m], order.take(place)
        order[place] = here
        here[:] = there
        counter -= _GOLDEN
    return np.ascontiguousarray(order.reshape(rows, m).T, dtype=np.int64)


def _splitmix64(z: NDArray[np.uint64], scratch: NDArray[np.uint64]) -> NDArray[np.uint64]:
    out = np.right_shift(z, np.uint64(30))
    out ^= z
    out *= np.uint64(0xBF58476D1CE4E5B9)
    out ^= np.right_shift(out, np.uint64(27), out=scratch)
    out *= np.uint64(0x94D049BB133111EB)
    out ^= np.right_shift(out, np.uint64(31), out=scratch)
    return out
