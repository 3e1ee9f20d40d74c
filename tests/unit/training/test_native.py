from types import SimpleNamespace

import pytest
import torch

from unrolled.training.native import reasoning as native
from unrolled.training.native.build import NativeUnavailableError
from unrolled.training.native.reasoning import NativeReasoning, kernel

from .factory import EVERYTHING, Job, needs_native, varied

pytestmark = needs_native


def test_native_is_for_single_precision_on_the_cpu():
    with pytest.raises(NativeUnavailableError, match=r"native is for float32 on the cpu, got torch\.float64 on cpu"):
        NativeReasoning(Job(dtype=torch.float64).ensemble(varied(2)))


def test_the_name_tells_how_many_replicas_share_a_register():
    backend = NativeReasoning(Job().ensemble(varied(2)))
    assert backend.lanes in (8, 16)
    assert backend.name == f"native-{backend.lanes}"


@pytest.mark.parametrize("count", [1, 7, 8, 16, 17, 40])
def test_blocks_hold_every_replica_and_neighbours_in_depth(count):
    members = varied(count)
    backend = NativeReasoning(Job().ensemble(members))
    assert all(len(block) == backend.lanes for block in backend.blocks)
    assert len(backend.blocks) == -(-count // backend.lanes)
    filled = [i for block in backend.blocks for i in block]
    assert sorted(filled[:count]) == list(range(count))
    assert set(filled[count:]) <= {filled[count - 1]}  # a short last block repeats its last replica
    depths = [members[i].steps for i in filled]
    assert depths == sorted(depths, reverse=True)


@pytest.mark.parametrize("wrong", [-1, 64, 2**31])
def test_rows_outside_the_population_are_refused_before_they_are_read(wrong):
    job, members = Job(), varied(2)
    backend, settings = job.backend(members, "native"), job.settings(members)
    with pytest.raises(IndexError, match=rf"expected rows 0 to 63, got .*{wrong}"):
        backend.evaluate(job.start(members).weights, torch.tensor([3, wrong]))
    settings.train_rows[1, 4] = wrong
    with pytest.raises(IndexError, match=rf"expected rows 0 to 63, got .*{wrong}"):
        backend.advance(settings, job.start(members), 1)


def test_too_little_memory_is_an_error_and_no_result():
    job, members = Job(), varied(2)
    backend = NativeReasoning(job.ensemble(members))
    backend.kernel = SimpleNamespace(train=lambda *arguments: -1, evaluate=lambda *arguments: -1)
    with pytest.raises(MemoryError, match="use smaller packs"):
        backend.advance(job.settings(members), job.start(members), 1)
    with pytest.raises(MemoryError, match="use smaller packs"):
        backend.evaluate(job.start(members).weights, EVERYTHING)


def test_a_kernel_of_another_struct_is_not_used(monkeypatch):
    monkeypatch.setattr(native, "load_library", lambda source, defines: SimpleNamespace(run_bytes=lambda: 8))
    with pytest.raises(NativeUnavailableError, match="differ in size"):
        kernel.__wrapped__(10, 5)


def test_rows_may_differ_between_replicas_or_be_shared():
    job, members = Job("nag"), varied(19)
    backend, weights = job.backend(members, "native"), job.start(members).weights
    rows = torch.stack([torch.arange(i, i + 13) for i in range(19)])
    apart, shared = backend.evaluate(weights, rows), backend.evaluate(weights, rows[6])
    for one, other in zip(apart, shared, strict=True):
        assert one.dtype == torch.float64
        assert torch.equal(one[6], other[6])
    assert not torch.equal(apart.loss, shared.loss)
