"""What single words say: for each set a linear model over bags of words, written into the embeddings along axes of their own.

A small decoder sees a rare word a few times in training, and a step moves its embedding a little; a linear model weighs all of
them at once, in seconds. Its weights are where the decoder begins: it can read them off, and has context and policy to add.
They are fitted for each set by itself, because sets disagree about what the same label means.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from tokenizers import Tokenizer

from finetune.nano.prepare import Example
from finetune.nano.stance import DOMAIN_NAMES, SETS, targets

MOST = 4.0
"""How far a word's weight may be from zero, in units of what the words of a text weigh on average."""


def words_of(tokenizer: Tokenizer) -> np.ndarray:
    """For each token the number of its word: case and leading space make no difference."""
    numbers: dict[str, int] = {}
    strings = [tokenizer.decode([index], skip_special_tokens=False) for index in range(tokenizer.get_vocab_size())]
    words = [string.strip().lower() or f"token {index}" for index, string in enumerate(strings)]
    return np.array([numbers.setdefault(word, len(numbers)) for word in words])


def bags(tokenizer: Tokenizer, words: np.ndarray, texts: Sequence[str]) -> sparse.csr_matrix:
    """Which words are in a text (texts, words), each row of length one."""
    rows, columns = [], []
    for row, encoding in enumerate(tokenizer.encode_batch(list(texts), add_special_tokens=False)):
        found = np.unique(words[encoding.ids])
        rows.append(np.full(len(found), row))
        columns.append(found)
    sizes = np.array([max(1, len(found)) for found in columns])
    values = np.repeat(1 / np.sqrt(sizes), [len(found) for found in columns])
    return sparse.csr_matrix((values, (np.concatenate(rows), np.concatenate(columns))), shape=(len(texts), words.max() + 1))


def fit(tokenizer: Tokenizer, examples: Sequence[Example]) -> np.ndarray:
    """For each token and each of `SETS` its weight, of mean square one over the words of the set's texts; zero where a set has
    not both signs."""
    words = words_of(tokenizer)
    found = np.zeros((len(words), len(SETS)), dtype=np.float32)
    for column, (source, domain) in enumerate(SETS):
        known = [(one, targets(one)[DOMAIN_NAMES.index(domain)]) for one in examples if one.source == source]
        known = [(one, sign) for one, sign in known if sign >= 0]
        signs = np.array([sign for _, sign in known])
        if len(set(signs)) < 2:
            continue
        given = bags(tokenizer, words, [one.text for one, _ in known])
        model = LogisticRegression(class_weight="balanced", C=2.0, solver="liblinear").fit(given, signs)
        weights = model.coef_[0] / np.sqrt((given.sign() @ model.coef_[0] ** 2).sum() / given.nnz)
        found[:, column] = weights.clip(-MOST, MOST)[words]
    return found


def axes(tables: Sequence[torch.Tensor], number: int, beside: torch.Tensor | None = None) -> torch.Tensor:
    """The orthonormal directions (width, number) along which the rows of the tables vary least, each table counting alike, at
    right angles to those of `beside` (width, some)."""
    spread = sum(found / found.trace() for found in (torch.cov(table.double().T) for table in tables))
    if beside is not None:
        taken = beside.double() @ beside.double().T
        left = torch.eye(len(taken), dtype=taken.dtype) - taken
        spread = left @ spread @ left + 2 * len(tables) * taken
    return torch.linalg.eigh(spread)[1][:, :number].float()


def write(table: torch.Tensor, along: torch.Tensor, weights: torch.Tensor, size: float) -> torch.Tensor:
    """The table with the weights (tokens, axes) instead of what it had along the axes; `size` is that of a weight of one, in
    units of what an entry of the table is on average."""
    unit = (table - table.mean(0)).pow(2).mean().sqrt() * size
    return table - (table - table.mean(0)) @ along @ along.T + unit * weights @ along.T
