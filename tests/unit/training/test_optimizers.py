import pytest
import torch

from unrolled.training.optimizers import OPTIMIZERS, Rates, initial_moments

# float64 rounding after a few tens of updates of weights of order 1.
ROUNDING = 1e-12
REPLICAS, UPDATES = 4, 12
LEARNING_RATES, WEIGHT_DECAYS = (0.3, 1e-2, 1e-3, 1.0), (1e-4, 0.0, 0.5, 0.1)
SHAPES = {"matrix": (3, 2), "bias": (3,), "scalar": ()}
TORCH = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}


def rates(order=range(REPLICAS)):
    pick = lambda values: torch.tensor([values[i] for i in order], dtype=torch.float64)  # noqa: E731
    return Rates(pick(LEARNING_RATES), pick(WEIGHT_DECAYS))


def normal(seed):
    draw = torch.Generator().manual_seed(seed)
    return {n: torch.randn(REPLICAS, *s, generator=draw, dtype=torch.float64) for n, s in SHAPES.items()}


def gradients(update):
    """Gradients of very different sizes, with an exact zero: Adam normalises by them."""
    return {name: g * 10.0 ** (update % 5 - 3) * (update != 4) for name, g in normal(100 + update).items()}


def run(name, undecayed=()):
    weights, path = normal(0), []
    moments = initial_moments(name, weights)
    for update in range(UPDATES):
        weights, moments = OPTIMIZERS[name](weights, gradients(update), moments, rates(), update + 1, undecayed)
        path.append(weights)
    return path


def run_torch(name, replica, undecayed=()):
    weights = {n: w[replica].clone().requires_grad_() for n, w in normal(0).items()}
    groups = [
        {"params": [w], "weight_decay": 0.0 if n in undecayed else WEIGHT_DECAYS[replica]} for n, w in weights.items()
    ]
    optimizer, path = TORCH[name](groups, lr=LEARNING_RATES[replica]), []
    for update in range(UPDATES):
        for n, g in gradients(update).items():
            weights[n].grad = g[replica].clone()
        optimizer.step()
        path.append({n: w.detach().clone() for n, w in weights.items()})
    return path


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("undecayed", [(), ("bias", "scalar")])
def test_each_replica_is_trained_as_torch_would_alone(name, undecayed):
    found = run(name, undecayed)
    for replica in range(REPLICAS):
        for ours, theirs in zip(found, run_torch(name, replica, undecayed), strict=True):
            for n in SHAPES:
                torch.testing.assert_close(ours[n][replica], theirs[n], rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_undecayed_names_are_left_alone_and_others_are_not(name):
    all_decayed, some = run(name)[-1], run(name, ("bias",))[-1]
    assert torch.equal(all_decayed["matrix"], some["matrix"])
    decaying = torch.tensor(WEIGHT_DECAYS) > 0
    assert ((all_decayed["bias"] != some["bias"]).any(-1) == decaying).all()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_update_changes_none_of_its_arguments(name):
    weights, grads = normal(0), gradients(1)
    moments = initial_moments(name, weights)
    OPTIMIZERS[name](weights, grads, moments, rates(), 1, ())
    for kept, fresh in ((weights, normal(0)), (grads, gradients(1)), (moments, initial_moments(name, weights))):
        assert kept.keys() == fresh.keys()
        assert all(torch.equal(kept[n], fresh[n]) for n in kept)


def test_moments_before_the_first_update():
    weights = normal(0)
    assert initial_moments("sgd", weights) == {}
    moments = initial_moments("adam", weights)
    assert set(moments) == {f"{order}.{n}" for order in ("first", "second") for n in SHAPES}
    assert all(torch.count_nonzero(m) == 0 for m in moments.values())
    with pytest.raises(ValueError, match="optimizer: expected one of adam, sgd, got 'adamw'"):
        initial_moments("adamw", weights)
