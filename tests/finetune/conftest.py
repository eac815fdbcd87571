"""The recipe is a script of the repository, not of the package: it is found from here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

for name in ("torch", "transformers", "tokenizers", "sklearn", "zstandard"):
    pytest.importorskip(name)
sys.path.insert(0, str(Path(__file__).parents[2]))

from finetune.nano import network, policies, tokenizer  # noqa: E402
from moderator.engines.chat import ChatTokenizer  # noqa: E402
from tests.finetune import tiny  # noqa: E402

# tests compare what is written with what it should be, not how a processor rounds
network.WORKING = torch.float32


@pytest.fixture(scope="session")
def teacher(tmp_path_factory):
    return tiny.make_teacher(tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="session")
def pieces(teacher):
    """The decoder's tokenizer."""
    return tiny.make_tokenizer(teacher)


@pytest.fixture(scope="session")
def tokenizer_folder(pieces, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(pieces, folder, 4096)
    return folder


@pytest.fixture(scope="session")
def chat(tokenizer_folder):
    return ChatTokenizer.from_folder(tokenizer_folder)


@pytest.fixture
def decoder():
    return tiny.make_decoder()


@pytest.fixture(scope="session")
def known():
    """The shipped policies with their meanings."""
    return policies.shipped()


@pytest.fixture(scope="session")
def hate(known):
    return next(stance for stance in known if stance.policy.slug == "hate")
