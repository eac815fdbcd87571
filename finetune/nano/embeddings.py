"""A first value for the token embeddings that costs seconds: co-occurrence (PPMI, SVD) and the log-odds of labels."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.utils.extmath import randomized_svd
from tokenizers import Tokenizer

from finetune.nano.prepare import Example

DOMAINS = ("hate", "sexism", "harassment", "toxicity", "spam", "violence", "selfharm", "sexual", "dangerous", "privacy")


def together(rows: np.ndarray, vocabulary: int, window: int = 5) -> sparse.csr_matrix:
    """How often two tokens stand at most `window` apart, near ones counting more."""
    total = sparse.csr_matrix((vocabulary, vocabulary), dtype=np.float32)
    for distance in range(1, window + 1):
        left, right = rows[:, :-distance].ravel(), rows[:, distance:].ravel()
        total = (
            total
            + sparse.coo_matrix(
                (np.full(left.size, 1 / distance, np.float32), (left, right)), shape=(vocabulary, vocabulary)
            ).tocsr()
        )
    return total + total.T


def meaning(counts: sparse.csr_matrix, size: int, seed: int) -> np.ndarray:
    """Positive pointwise mutual information, reduced to `size` numbers a token, each row of length one."""
    found = counts.tocoo()
    sums = np.asarray(counts.sum(1)).ravel() + 1e-9
    context = sums**0.75
    values = np.log(found.data * context.sum() / (sums[found.row] * context[found.col]))
    ppmi = sparse.csr_matrix((np.maximum(values, 0), (found.row, found.col)), shape=counts.shape)
    left, strength, _ = randomized_svd(ppmi, size, n_iter=3, random_state=seed)
    vectors = left * np.sqrt(strength)
    return vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-6)


def odds(tokenizer: Tokenizer, examples: list[Example], vocabulary: int) -> np.ndarray:
    """For each token and domain: log-odds of standing in a text that breaks a rule of the domain, shrunk for rare tokens."""
    texts = [
        set(encoding.ids)
        for encoding in tokenizer.encode_batch([example.text for example in examples], add_special_tokens=False)
    ]
    columns = []
    for domain in DOMAINS:
        yes, no = np.full(vocabulary, 0.0), np.full(vocabulary, 0.0)
        total_yes = total_no = 1
        for example, tokens in zip(examples, texts, strict=True):
            ids = np.fromiter(tokens, dtype=np.int64)
            if any(topic.startswith(domain) for topic in example.broken):
                yes[ids] += 1
                total_yes += 1
            elif domain not in example.unsure:
                no[ids] += 1
                total_no += 1
        rate = 10.0 / max(total_yes, 100)
        columns.append(np.log((yes / total_yes + rate) / (no / total_no + rate)))
    return np.stack(columns, 1)


def start(
    tokenizer: Tokenizer, rows: np.ndarray, examples: list[Example], shape: dict, seed: int, scale: float = 0.04
) -> np.ndarray:
    """One vector a token: meaning, label odds and frequency, mixed by a rotation so that no dimension is special."""
    vocabulary, size = shape["vocab_size"], shape["hidden_size"]
    labels = odds(tokenizer, examples, vocabulary)
    labels = labels / (labels.std(0) + 1e-6)
    frequency = np.log(np.bincount(rows.ravel(), minlength=vocabulary) + 1.0)
    frequency = (frequency - frequency.mean()) / frequency.std()
    vectors = np.concatenate(
        [meaning(together(rows, vocabulary), size - len(DOMAINS) - 1, seed) * np.sqrt(size) * 0.9, labels, frequency[:, None]],
        1,
    )
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))
    return (vectors @ rotation * scale).astype(np.float32)
