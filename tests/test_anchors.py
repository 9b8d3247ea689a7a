"""Anchors, what they say of the noise, and which labels that calls wrong, beside slow and obvious versions."""

import numpy as np
import pytest
import torch

from dlt.anchors import judged_classes, neighbour_votes, transition_matrix, without_noise, wrong_share


@pytest.mark.parametrize("chunk", [7, 1024])
def test_votes_slowly(chunk, monkeypatch):
    monkeypatch.setattr("dlt.anchors.CHUNK", chunk)
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(40, 5)), rng.integers(3, size=40)
    expected = np.zeros((40, 3))
    for i, own in enumerate(features):
        cosines = [(own @ x / np.linalg.norm(own) / np.linalg.norm(x), j) for j, x in enumerate(features) if j != i]
        for cosine, j in sorted(cosines, reverse=True)[:30]:  # of 30, some are below 0
            expected[i, labels[j]] += max(cosine, 0)
    got = neighbour_votes(torch.from_numpy(features), torch.from_numpy(labels), 3, 30)
    np.testing.assert_allclose(got, expected, rtol=1e-10)


def test_a_transition_matrix_slowly():
    """Of classes of different sizes; the last has no label at all, and no anchor."""
    rng = np.random.default_rng(0)
    probabilities, labels = rng.random((57, 5)), rng.choice(4, 57, p=[0.5, 0.3, 0.15, 0.05])
    got = transition_matrix(torch.from_numpy(probabilities), torch.from_numpy(labels), 0.3)
    for c in range(5):
        count = int(np.ceil(0.3 * (labels == c).sum()))
        surest = sorted(range(57), key=lambda i: -probabilities[i, c])[:count]
        borne = np.array([sum(labels[i] == k for i in surest) + 1 / 5 for k in range(5)])
        np.testing.assert_allclose(got[c], borne / (count + 1))
    wrong = sum((labels == c).mean() * (1 - got[c, c]) for c in range(5))
    assert wrong_share(got, torch.from_numpy(labels)) == pytest.approx(float(wrong))


def test_noise_taken_out_is_what_the_matrix_put_in():
    rng = np.random.default_rng(0)
    transition = torch.from_numpy(np.eye(4) * 0.6 + 0.1)
    clean = torch.from_numpy(rng.dirichlet(np.ones(4), 20))
    found = without_noise(clean @ transition, transition, steps=5000)
    torch.testing.assert_close(found, clean, atol=1e-3, rtol=0)
    few = without_noise(clean @ transition, transition)
    torch.testing.assert_close(few.sum(1), torch.ones(20, dtype=torch.double))
    assert (few - clean).abs().mean() < (clean @ transition - clean).abs().mean()
    assert (few >= 0).all()


def test_a_step_of_it_slowly():
    rng = np.random.default_rng(1)
    transition, given = rng.dirichlet(np.ones(3), 3), rng.dirichlet(np.ones(3), 5)
    expected = np.full((5, 3), 1 / 3)
    for _ in range(2):
        before = expected.copy()
        for i in range(5):
            for c in range(3):
                terms = [transition[c, y] * given[i, y] / (before[i] @ transition[:, y]) for y in range(3)]
                expected[i, c] = before[i, c] * sum(terms)
    got = without_noise(torch.from_numpy(given), torch.from_numpy(transition), steps=2)
    np.testing.assert_allclose(got, expected)


def test_an_unsure_network_does_not_outvote_a_label():
    """Three of four labels are right. A network that has learnt such labels says .75 where it is sure of a class."""
    transition = torch.full((4, 4), 0.25 / 3).fill_diagonal_(0.75)
    sure = torch.tensor([[0.75, 0.25 / 3, 0.25 / 3, 0.25 / 3]])
    unsure = torch.tensor([[0.35, 0.25, 0.2, 0.2]])
    assert judged_classes(torch.cat([sure, unsure]), transition, torch.tensor([1, 1])).tolist() == [0, 1]


@pytest.mark.parametrize(("knows", "called"), [(1.0, (0.28, 0.31)), (0.3, (0.03, 0.12))])
def test_what_networks_strong_and_weak_call_wrong(knows, called):
    """3 of 10 labels wrong: T is found by both; a weak one calls fewer labels wrong, and is right about these."""
    rng = np.random.default_rng(1)
    true = rng.integers(5, size=20_000)
    labels = np.where(rng.random(20_000) < 0.3, (true + rng.integers(1, 5, 20_000)) % 5, true)
    seen = np.where(rng.random(20_000) < knows, 0.98, 0.05)[:, None] * np.eye(5)[true]
    noise = np.full((5, 5), 0.3 / 4) + np.eye(5) * (0.7 - 0.3 / 4)
    probabilities = torch.from_numpy((seen + (1 - seen.sum(1, keepdims=True)) / 5) @ noise)
    given = torch.from_numpy(labels)
    transition = transition_matrix(probabilities, given, 0.2)
    np.testing.assert_allclose(transition, noise, atol=0.06)  # of 800 anchors a class
    wrong = (judged_classes(probabilities, transition, given) != given).numpy()
    assert called[0] < wrong.mean() < called[1]
    assert (labels != true)[wrong].mean() > 0.95
