"""What several annotators probably meant, when they differ in care: Dawid & Skene (1979), by expectation-maximisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moderator.metrics.classification import indices
from moderator.metrics.intervals import Floats, Ints, Label

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False, slots=True)
class Consensus:
    """A fitted model. Items that nobody rated have the prior as their posterior."""

    labels: tuple[Label, ...]
    posterior: Floats
    """How probable each label is for each item: (items, labels)."""
    prior: Floats
    """How frequent the labels are: (labels,)."""
    confusion: Mapping[str, Floats]
    """By annotator: how probable each label is, given the true one: (labels, labels)."""
    log_likelihood: float
    """Of the ratings, without the smoothing."""
    iterations: int
    converged: bool

    @property
    def choices(self) -> tuple[Label, ...]:
        """The most probable label of each item, the first one where several tie."""
        return tuple(self.labels[place] for place in self.posterior.argmax(-1))


def dawid_skene(
    ratings: Sequence[Mapping[str, Label]],
    labels: Sequence[Label],
    *,
    smoothing: float = 0.01,
    tolerance: float = 1e-6,
    iterations: int = 200,
) -> Consensus:
    """Fits the model to the labels of each item by the id of the annotator, from the shares of the votes on.

    `smoothing` is added to every count, so that no probability is 0. It has converged when no posterior moves by more than
    `tolerance`. Raises ValueError for a label that is not named, and when there are no ratings.
    """
    from scipy.special import logsumexp

    item, annotator, label, names = _triples(ratings, labels)
    if not len(item):
        raise ValueError("no ratings")
    given = np.zeros((len(ratings), len(labels)))
    np.add.at(given, (item, label), 1)
    rated: Mask = given.sum(-1) > 0
    posterior = np.where(rated[:, None], given, 1.0)
    posterior /= posterior.sum(-1, keepdims=True)
    iteration, converged = 0, False
    while not converged and iteration < iterations:
        iteration += 1
        log_prior, log_confusion = _maximise(posterior, rated, (item, annotator, label), len(names), smoothing)
        joint = np.tile(log_prior, (len(ratings), 1))
        np.add.at(joint, item, log_confusion[annotator, :, label])
        evidence = logsumexp(joint, axis=-1)
        before, posterior = posterior, np.exp(joint - evidence[:, None])
        converged = bool(np.abs(posterior - before).max() <= tolerance)
    return Consensus(
        tuple(labels),
        posterior,
        np.exp(log_prior),
        dict(zip(names, np.exp(log_confusion), strict=True)),
        float(evidence[rated].sum()),
        iteration,
        converged,
    )


def _maximise(
    posterior: Floats, rated: Mask, triples: tuple[Ints, Ints, Ints], annotators: int, smoothing: float
) -> tuple[Floats, Floats]:
    """The logarithms of the prior (labels,) and of the confusions (annotators, true, given) that fit the posterior best."""
    item, annotator, label = triples
    k = posterior.shape[1]
    counts = np.full((annotators, k, k), smoothing, dtype=np.float64)
    np.add.at(counts, (annotator[:, None], np.arange(k), label[:, None]), posterior[item])
    prior = posterior[rated].sum(0) + smoothing
    return _log_shares(prior), _log_shares(counts)


def _log_shares(counts: Floats) -> Floats:
    """Without smoothing a count may be 0, and its logarithm minus infinity; an empty row says nothing and is even."""
    total = counts.sum(-1, keepdims=True)
    shares = np.where(total > 0, counts / np.where(total > 0, total, 1), 1 / counts.shape[-1])
    return np.log(shares, out=np.full(shares.shape, -np.inf), where=shares > 0)


def _triples(ratings: Sequence[Mapping[str, Label]], labels: Sequence[Label]) -> tuple[Ints, Ints, Ints, list[str]]:
    names = sorted({annotator for rating in ratings for annotator in rating})
    number = {name: place for place, name in enumerate(names)}
    item = np.repeat(np.arange(len(ratings)), [len(rating) for rating in ratings])
    annotator = np.array([number[name] for rating in ratings for name in rating], dtype=np.intp)
    return item, annotator, indices((label for rating in ratings for label in rating.values()), labels), names
