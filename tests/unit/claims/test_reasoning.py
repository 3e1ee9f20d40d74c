"""The entries of the reasoning-layer claims."""

from __future__ import annotations

from unrolled.claims.reasoning import CLAIMS


def test_ids_are_r1_to_r8_in_order() -> None:
    assert list(CLAIMS) == [f"R{number}" for number in range(1, 9)]
    assert all(claim.id == name for name, claim in CLAIMS.items())


def test_entries_say_what_and_when() -> None:
    for claim in CLAIMS.values():
        assert claim.theory == "reasoning"
        assert all(name.startswith("reasoning/") for name in claim.experiments)
        assert "Reproduced: all hold; partly: at least two thirds" in claim.rule
        for text in (claim.place, claim.statement, claim.metric, claim.rule):
            assert text.strip() == text != ""
            assert "  " not in text


def test_rule_texts_name_their_limits() -> None:
    limits = {"R1": "2..30", "R2": "above 0.1", "R3": "2..5", "R4": "10 and above", "R5": "2 %", "R6": "5 on"}
    for name, limit in limits.items():
        assert limit in CLAIMS[name].rule
