"""Invented claims in the form of claims.json; for tests only."""

from __future__ import annotations

from typing import Any

VERDICTS = ("reproduced", "partly", "not reproduced", "not run")


def synthetic_claims(count: int = 8) -> list[dict[str, Any]]:
    """Return claims R1.. with every verdict in turn; those not run have no numbers."""
    claims = []
    for i in range(count):
        verdict = VERDICTS[i % 4]
        ran = verdict != "not run"
        claims.append(
            {
                "id": f"R{i + 1}",
                "theory": "reasoning",
                "paper": "Chen et al. 2020",
                "place": "section 4 <and> 5",
                "statement": f"Invented statement number {i + 1} about the training error & the gap, of usual length.",
                "metric": "train_loss(GD) - train_loss(NAG), paired by seed",
                "effect": 0.123456 * (i + 1) if ran else None,
                "low": 0.1 if ran else None,
                "high": 0.2 * (i + 1) if ran else None,
                "n": 20 if ran else None,
                "rule": f"rule of claim {i + 1}: the interval excludes 0 at every k",
                "verdict": verdict,
                "records": {"experiments": ["reasoning/generalization"], "trials": 100, "digest": "ab" * 32},
            }
        )
    return claims
