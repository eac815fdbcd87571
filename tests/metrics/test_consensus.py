from __future__ import annotations

import math

import numpy as np
import pytest

from moderator.metrics import dawid_skene

Ratings = list[dict[str, str]]


def _naive(ratings: Ratings, labels: str, smoothing: float, rounds: int) -> list[list[float]]:
    """The same model written with loops and plain probabilities."""
    names = sorted({name for rating in ratings for name in rating})
    posterior = [[list(rating.values()).count(label) / len(rating) for label in labels] for rating in ratings]
    for _ in range(rounds):
        prior = [sum(row[true] for row in posterior) + smoothing for true in range(len(labels))]
        prior = [weight / sum(prior) for weight in prior]
        confusion: dict[str, list[list[float]]] = {}
        for name in names:
            confusion[name] = []
            for true in range(len(labels)):
                row = [
                    smoothing + sum(p[true] for p, r in zip(posterior, ratings, strict=True) if r.get(name) == given)
                    for given in labels
                ]
                confusion[name].append([weight / sum(row) for weight in row])
        for number, rating in enumerate(ratings):
            joint = [
                prior[true] * math.prod([confusion[name][true][labels.index(label)] for name, label in rating.items()])
                for true in range(len(labels))
            ]
            posterior[number] = [weight / sum(joint) for weight in joint]
    return posterior


def _simulated(items: int = 300) -> tuple[list[str], Ratings, dict[str, float]]:
    generator = np.random.default_rng(4)
    truth = [str(label) for label in generator.choice(list("abc"), size=items, p=[0.6, 0.3, 0.1])]
    skill = {"careful": 0.95, "good": 0.85, "fair": 0.7, "poor": 0.45, "worse": 0.4}
    ratings = [
        {
            name: label if generator.random() < right else str(generator.choice([other for other in "abc" if other != label]))
            for name, right in skill.items()
            if generator.random() < 0.9
        }
        for label in truth
    ]
    return truth, ratings, skill


def test_it_is_the_naive_model_step_by_step() -> None:
    _, ratings, _ = _simulated(40)
    ratings = [rating for rating in ratings if rating]
    for rounds in (1, 2, 7):
        found = dawid_skene(ratings, "abc", smoothing=0.1, tolerance=0, iterations=rounds)
        assert found.posterior == pytest.approx(np.array(_naive(ratings, "abc", 0.1, rounds)))
        assert (found.iterations, found.converged) == (rounds, False)


def test_it_beats_the_majority_where_annotators_differ_in_care_and_tells_who_is_careful() -> None:
    truth, ratings, skill = _simulated()
    found = dawid_skene(ratings, "abc")
    assert found.converged
    right = np.mean([choice == label for choice, label in zip(found.choices, truth, strict=True)])
    majority = [max("abc", key=lambda label: list(rating.values()).count(label)) for rating in ratings]
    assert right > np.mean([choice == label for choice, label in zip(majority, truth, strict=True)]) + 0.03
    for name, share in skill.items():
        assert np.average(np.diag(found.confusion[name]), weights=found.prior) == pytest.approx(share, abs=0.08)
    assert found.prior == pytest.approx([0.6, 0.3, 0.1], abs=0.1)


def test_the_likelihood_never_falls_without_smoothing() -> None:
    _, ratings, _ = _simulated(60)
    values = [
        dawid_skene(ratings, "abc", smoothing=0, tolerance=0, iterations=rounds).log_likelihood for rounds in range(1, 15)
    ]
    assert (np.diff(values) >= -1e-9).all()


def test_probabilities_sum_to_one_and_names_and_order_do_not_matter() -> None:
    _, ratings, _ = _simulated(50)
    found = dawid_skene(ratings, "abc")
    assert found.posterior.sum(-1) == pytest.approx(np.ones(50))
    assert all(confusion.sum(-1) == pytest.approx(np.ones(3)) for confusion in found.confusion.values())
    turned = [
        {name: {"a": "c", "b": "a", "c": "b"}[label] for name, label in reversed(rating.items())}
        for rating in reversed(ratings)
    ]
    again = dawid_skene(turned, "cab")
    assert again.posterior[::-1] == pytest.approx(found.posterior, abs=1e-6)


def test_an_item_that_nobody_rated_has_the_prior() -> None:
    found = dawid_skene([{"x": "a", "y": "a"}, {}, {"x": "a", "y": "b"}], "ab")
    assert found.posterior[1] == pytest.approx(found.prior)
    with pytest.raises(ValueError, match="no ratings"):
        dawid_skene([{}, {}], "ab")
    with pytest.raises(ValueError, match="'z' is none of"):
        dawid_skene([{"x": "z"}], "ab")
