"""A causal decoder whose first layers begin at those of an encoder: fitted layer by layer, before any training.

The encoder (BERT: norms after the sum, GELU, absolute positions, sees both ways) and the decoder (Llama: norms before, SwiGLU,
rotary positions, sees what came before) cannot hold the same weights. Layer by layer, queries, keys and values are copied, the
axes of each head turned so that what matters most turns slowest; the perceptron takes the neurons that fire most, and linear
ones that stand in for the second norm; both output matrices are ridge regressions from what the decoder's layer sees to what
the encoder's layer came to. A decoder that begins at an encoder's weights: Rothe et al., TACL 2020. GELU(x) is about
x sigmoid(1.702 x): Hendrycks and Gimpel 2016.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional
from transformers import LlamaForCausalLM
from transformers.models.bert.modeling_bert import BertLayer

from finetune.nano.network import gated, linear, normal, rotations, turn
from finetune.nano.teacher import Lesson, Teacher

SIGMOID = 1.702
OPEN = 2.0
"""Where the gates of linear neurons stand."""


def ends(said: Sequence[tuple[int, int]], heard: Sequence[tuple[int, int]]) -> list[int]:
    """For each token of ours (offsets), the encoder's piece that ends at the same character; -1 where none does."""
    found = {end: index for index, (start, end) in enumerate(heard) if end > start}
    return [found.get(end, -1) for _, end in said]


def ridge(given: torch.Tensor, wanted: torch.Tensor, near: torch.Tensor, strength: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight (out, in) and bias of the least squares from `given` to `wanted`, drawn towards the weight `near`."""
    ones = torch.cat((given, torch.ones(len(given), 1)), 1).double()
    start = torch.cat((near, torch.zeros(len(near), 1)), 1).double()
    square = ones.T @ ones
    pull = square.diagonal() + 1e-6 * square.diagonal().mean()
    moved = torch.linalg.solve(square + strength * torch.diag(pull), ones.T @ (wanted.double() - ones @ start.T))
    fitted = (start + moved.T).float()
    return fitted[:, :-1], fitted[:, -1]


def tell(given: torch.Tensor, told: torch.Tensor, often: int, strength: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight (width) and bias of a linear reader that comes to 1 at the rows of `given` (rows, width) that are told, each of
    which counts `often`, and to 0 at the others. Least squares keep the former alike; logistic regression would not."""
    more = torch.cat((given, given[told].repeat(often - 1, 1)))
    wanted = torch.cat((told.float(), torch.ones((often - 1) * int(told.sum()))))[:, None]
    weight, bias = ridge(more, wanted, torch.zeros(1, given.shape[1]), strength)
    return weight[0], bias[0]


def turned_heads(query: nn.Linear, key: nn.Linear, heads: int) -> tuple[torch.Tensor, ...]:
    """Query weight and bias, key weight and bias: the same products in each head, strongest axes on the slowest rotations."""
    size = query.out_features // heads
    slowest = [axis for pair in reversed(range(size // 2)) for axis in (pair, pair + size // 2)]
    place = torch.zeros(size, size, dtype=torch.double)
    place[slowest, range(size)] = 1
    asked, shown = [], []
    for ask, show in zip(_heads(query, heads), _heads(key, heads), strict=True):
        _, left = torch.linalg.qr(ask[:, :-1].T)
        _, right = torch.linalg.qr(show[:, :-1].T)
        outer, strengths, inner = torch.linalg.svd(left @ right.T)
        root = place @ torch.diag(strengths.sqrt())
        asked.append(root @ outer.T @ torch.linalg.inv(left.T) @ ask)
        shown.append(root @ inner @ torch.linalg.inv(right.T) @ show)
    both = [torch.cat(parts).float() for parts in (asked, shown)]
    return both[0][:, :-1], both[0][:, -1], both[1][:, :-1], both[1][:, -1]


def _heads(matrix: nn.Linear, heads: int) -> tuple[torch.Tensor, ...]:
    """For each head its rows, the bias as a last column."""
    return torch.cat((matrix.weight, matrix.bias[:, None]), 1).double().chunk(heads)


class Classroom:
    """Texts as both models read them: our ids, and where our tokens end together with the encoder's pieces."""

    def __init__(self, ids: torch.Tensor, lesson: Lesson, places: tuple[list[int], list[int], list[int]]) -> None:
        self.ids, self.lesson = ids, lesson
        self.rows, self.columns, self.pieces = places

    def ours(self, states: torch.Tensor) -> torch.Tensor:
        return states[self.rows, self.columns]

    def theirs(self, states: torch.Tensor) -> torch.Tensor:
        return states[self.rows, self.pieces]


def classroom(
    teacher: Teacher, tokenizer: Tokenizer, texts: Sequence[str], before: Sequence[Sequence[int]] = ((),), longest: int = 96
) -> Classroom:
    """The texts before both models, padded; before ours, each behind one of the prompts `before` (token ids) in turn."""
    ours, lesson = tokenizer.encode_batch(list(texts), add_special_tokens=False), teacher.lesson(texts, longest)
    given = [[*before[row % len(before)], *encoding.ids] for row, encoding in enumerate(ours)]
    ids = torch.zeros(len(texts), max(map(len, given)), dtype=torch.long)
    rows, columns, pieces = [], [], []
    for row, (mine, theirs) in enumerate(zip(ours, lesson.encodings, strict=True)):
        ids[row, : len(given[row])] = torch.tensor(given[row])
        for column, piece in enumerate(ends(mine.offsets, theirs.offsets), len(before[row % len(before)])):
            if piece >= 0:
                rows.append(row)
                columns.append(column)
                pieces.append(piece)
    return Classroom(ids, lesson, (rows, columns, pieces))


def size_of(states: torch.Tensor) -> float:
    """Root mean square of a token, on average."""
    return states.pow(2).mean(-1).sqrt().mean().item()


@torch.no_grad()
def convert(
    network: LlamaForCausalLM,
    teacher: Teacher,
    room: Classroom,
    kept: Sequence[int],
    curved: int,
    free: torch.Tensor | None = None,
) -> list[float]:
    """Fill the first `len(kept)` layers from these of the encoder; `curved` neurons keep their GELU, the rest are linear.

    The embeddings must be `Teacher.words`; what they hold along the axes `free` (width, axes) is neither read nor changed.
    Returns the mean cosine to the encoder's states after each layer.
    """
    width = network.config.hidden_size
    inside = torch.eye(width) if free is None else torch.eye(width) - free @ free.T
    hidden, near = network.model.embed_tokens(room.ids), []
    for index, number in enumerate(kept):
        theirs, ours = teacher.network.encoder.layer[number], network.model.layers[index]
        target = room.theirs(room.lesson.states[kept[index + 1] if index + 1 < len(kept) else number + 1])
        hidden = _attend(ours, theirs, hidden, room, number, network.config.num_attention_heads, inside)
        _perceive(ours, theirs, room.ours(hidden), target, curved, inside)
        hidden = hidden + gated(normal(hidden, ours.post_attention_layernorm.weight), ours.mlp)
        near.append(functional.cosine_similarity(room.ours(hidden) @ inside, target).mean().item())
    return near


def _attend(
    ours: nn.Module, theirs: BertLayer, hidden: torch.Tensor, room: Classroom, number: int, heads: int, inside: torch.Tensor
) -> torch.Tensor:
    """Fit a layer's attention; the states behind it. `inside` projects (width, width) to what is read and written."""
    attention, source = ours.self_attn, theirs.attention
    rows, tokens, width = hidden.shape
    ours.input_layernorm.weight.fill_(size_of(room.theirs(room.lesson.states[number])))
    parts = turned_heads(source.self.query, source.self.key, heads)
    copied = (*parts, source.self.value.weight, source.self.value.bias)
    matrices = (attention.q_proj, attention.k_proj, attention.v_proj)
    for parameter, value in zip([part for matrix in matrices for part in (matrix.weight, matrix.bias)], copied, strict=True):
        parameter.copy_(value @ inside if value.ndim == 2 else value)
    read = normal(hidden, ours.input_layernorm.weight)
    cosines, sines = rotations(torch.arange(tokens), width // heads)
    split = [linear(read, matrix).float().view(rows, tokens, heads, -1).transpose(1, 2) for matrix in matrices]
    queries, keys, values = split
    queries, keys = turn(queries, cosines, sines), turn(keys, cosines, sines)
    seen = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True).transpose(1, 2).flatten(2)
    weight, bias = ridge(room.ours(seen), room.theirs(room.lesson.attended[number]), source.output.dense.weight, 0.01)
    attention.o_proj.weight.copy_(inside @ weight)
    attention.o_proj.bias.copy_(inside @ bias)
    return hidden + linear(seen, attention.o_proj).float()


def _perceive(
    ours: nn.Module, theirs: BertLayer, states: torch.Tensor, target: torch.Tensor, curved: int, inside: torch.Tensor
) -> None:
    """Fit a layer's perceptron to come from `states` to `target` (both tokens, size)."""
    norm, wide, narrow, mlp = theirs.attention.output.LayerNorm, theirs.intermediate.dense, theirs.output.dense, ours.mlp
    ours.post_attention_layernorm.weight.fill_(1.0)
    read = normal(states, ours.post_attention_layernorm.weight) @ inside
    states = states @ inside
    spread = states.std(-1, unbiased=False)
    gain = norm.weight * (states.pow(2).mean(-1).sqrt() / spread).mean()
    shift = norm.bias - norm.weight * (states.mean(-1) / spread).mean()
    weight, bias = wide.weight * gain, wide.bias + wide.weight @ shift
    fires = functional.gelu(read @ weight.T + bias).abs().mean(0) * narrow.weight.norm(dim=0)
    best = fires.argsort(descending=True)[:curved]
    for parameter in mlp.parameters():
        parameter.zero_()
    mlp.gate_proj.weight[:curved], mlp.gate_proj.bias[:curved] = SIGMOID * weight[best] @ inside, SIGMOID * bias[best]
    mlp.up_proj.bias[:curved] = 1 / SIGMOID
    # the linear neurons read the directions in which a linear map of the state does most
    straight = min(mlp.gate_proj.out_features - curved, states.shape[1])
    mapped, _ = ridge(read, target - states, torch.zeros(target.shape[1], read.shape[1]), 1e-4)
    axes = torch.linalg.svd(read @ mapped.T, full_matrices=False)[2][:straight] @ mapped @ inside
    behind = slice(curved, curved + len(axes))
    mlp.gate_proj.bias[behind] = OPEN
    mlp.up_proj.weight[behind] = functional.normalize(axes, dim=-1) / functional.silu(torch.tensor(OPEN))
    fired = functional.silu(linear(read, mlp.gate_proj)) * linear(read, mlp.up_proj)
    weight, bias = ridge(fired.float(), target - states, torch.zeros_like(mlp.down_proj.weight), 0.003)
    mlp.down_proj.weight.copy_(inside @ weight)
    mlp.down_proj.bias.copy_(inside @ bias)
