"""The entries of the claims on deep frames."""

from __future__ import annotations

from unrolled.claims.frames import CLAIMS
from unrolled.claims.reasoning import CLAIMS as REASONING


def test_ids_are_c1_to_c10_without_recurrent_inference() -> None:
    assert list(CLAIMS) == [f"C{number}" for number in range(1, 11) if number != 7]
    assert all(claim.id == name for name, claim in CLAIMS.items())
    assert not set(CLAIMS) & set(REASONING)


def test_entries_say_what_and_when() -> None:
    for claim in CLAIMS.values():
        assert claim.theory == "frames"
        assert claim.experiments
        assert all(name.startswith("frames/") for name in claim.experiments)
        assert "Reproduced: all places hold; partly: at least two thirds" in claim.rule
        for text in (claim.paper, claim.place, claim.statement, claim.metric, claim.rule):
            assert text.strip() == text != ""
            assert "  " not in text


def test_rule_texts_name_their_limits() -> None:
    limits = {
        "C1": ("at least 20", "above 0.7"),
        "C2": ("divided by 3", "above -0.05"),
        "C3": ("at least 3 layers", "1 % slack"),
        "C4": ("at least two thirds", "at least 3 pairs"),
        "C5": ("n >= 10", "above 0.03"),
        "C6": ("at least 5 nets",),
        "C8": ("at least 5 nets",),
        "C9": ("1.1 min F", "1e-4"),
        "C10": ("2 to 4 layers", "within 5 %"),
    }
    assert set(limits) == set(CLAIMS)
    for name, words in limits.items():
        assert all(word in CLAIMS[name].rule for word in words), name
    assert all("values below 1e-4 are 0" in claim.rule for claim in CLAIMS.values())
