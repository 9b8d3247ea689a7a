import pytest
import torch

from dlt.harness.errors import InputError
from dlt.harness.networks import batch_statistics, build_network, evaluating


@pytest.mark.parametrize(("classes", "parameters"), [(10, 11_171_274), (100, 11_217_444)])
def test_preact_resnet18_has_the_peers_parameters(classes, parameters):
    network = build_network("preact-resnet18", 3, classes, seed=1)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert network.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, classes)


@pytest.mark.parametrize(("name", "shape"), [("preact-digits", (1, 8, 8)), ("preact-mini", (3, 32, 32))])
def test_small_networks(name, shape):
    network = build_network(name, shape[0], 10, seed=1)
    assert network(torch.randn(4, *shape)).shape == (4, 10)


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (build_network("preact-digits", 1, 10, seed) for seed in (1, 1, 2))
    assert torch.get_rng_state().equal(before)
    for name, value in one.state_dict().items():
        assert value.equal(same.state_dict()[name])
    assert not one.stem.weight.equal(other.stem.weight)


def test_unknown_network():
    with pytest.raises(InputError, match="network: 'vgg'"):
        build_network("vgg", 3, 10, seed=1)


def test_modes_come_back():
    network = build_network("preact-digits", 1, 10, seed=1).train()
    images = torch.randn(16, 1, 8, 8)
    before = network.bn.running_mean.clone()
    with torch.no_grad(), batch_statistics(network):
        inside = network(images)
    assert network.bn.running_mean.equal(before)
    torch.testing.assert_close(network(images), inside)
    assert not network.bn.running_mean.equal(before)
    with evaluating(network):
        assert not network.bn.training
    assert network.bn.training
