"""What holds on a graphics card: the CPU's results to rounding, whatever the pack."""

import pytest
import torch

from .factory import Job, varied

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no graphics card")

ROUNDING = 1e-4
"""Relative difference of losses after 200 updates in float32, whose sums are taken in another order."""


def curves(members, device, backend):
    """The members' training curves, by their seeds."""
    job = Job("nag", 16, epochs=70, device=device)
    state = job.train(members, backend)
    return {member.seed: state.curve[:, i].cpu() for i, member in enumerate(members)}


@pytest.mark.parametrize("backend", ["fused", "eager"])
def test_the_card_agrees_with_the_cpu_and_packs_with_each_other(backend):
    members = varied(8)
    expected, found = curves(members, "cpu", backend), curves(members, "cuda", backend)
    for seed, curve in expected.items():
        torch.testing.assert_close(found[seed], curve, rtol=ROUNDING, atol=ROUNDING)
    for member in members[:3]:
        alone = curves([member], "cuda", backend)[member.seed]
        torch.testing.assert_close(alone, found[member.seed], rtol=ROUNDING, atol=ROUNDING)


def test_the_automatic_backend_knows_that_the_kernel_is_for_the_cpu(recwarn):
    members = varied(2)
    assert Job(device="cuda").backend(members, "auto").name == "fused"
    assert not recwarn.list
