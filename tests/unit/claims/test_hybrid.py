"""The entries of the claims on hybrid nets."""

from __future__ import annotations

from unrolled.claims import frames, reasoning
from unrolled.claims.hybrid import CLAIMS
from unrolled.config.check import experiment_names


def test_ids_are_c7_and_h1_to_h5() -> None:
    assert list(CLAIMS) == ["C7", "H1", "H2", "H3", "H4", "H5"]
    assert all(claim.id == name for name, claim in CLAIMS.items())
    assert not set(CLAIMS) & (set(frames.CLAIMS) | set(reasoning.CLAIMS))


def test_entries_say_what_and_when() -> None:
    for claim in CLAIMS.values():
        assert claim.theory == "hybrid"
        assert all(name.startswith("hybrid/") for name in claim.experiments)
        assert "Reproduced: all places hold; partly: at least two thirds" in claim.rule
        for text in (claim.paper, claim.place, claim.statement, claim.metric, claim.rule):
            assert text.strip() == text != ""
            assert "  " not in text


def test_rule_texts_name_their_limits() -> None:
    limits = {
        "C7": ("at most 0.02", "middle radius (entry len // 2"),
        "H1": ("k > 1", "at least 6 cells"),
        "H2": ("at least 6 cells", "multiplied by seed"),
        "H3": ("at least 5 a data set", "at least 3 values", "values below 1e-4 are 0"),
        "H4": ("at most 1e-5", "at most 1e-3 in at least 95 %", "solver.step_size <= 1"),
        "H5": ("at least 0.99", "at most 0.01"),
    }
    assert set(limits) == set(CLAIMS)
    for name, words in limits.items():
        assert all(word in CLAIMS[name].rule for word in words), name


def test_experiments_are_named_as_the_records_name_them() -> None:
    known = {name for name in experiment_names() if name.startswith("hybrid/")}
    assert {name for claim in CLAIMS.values() for name in claim.experiments} <= known
