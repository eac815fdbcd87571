"""What the model does on the public suites, next to a linear floor; and whether it follows the policy it is given."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from transformers import AutoModelForCausalLM, DynamicCache, Qwen3ForCausalLM

from finetune.nano import packing, policies
from finetune.nano.augment import quote_of
from finetune.nano.prepare import Example, clean, hashed
from finetune.nano.sources import table
from finetune.nano.tokenizer import LABELS, check_labels
from moderator.content import Content, Turn
from moderator.engines.chat import ChatTokenizer
from moderator.policy.library import load_policy
from moderator.policy.model import Policy
from moderator.prompt import compile_prompt
from moderator.quoting import literal

FLOORS = {
    "hatexplain": 0.892,
    "edos": 0.858,
    "convabuse": 0.943,
    "misogyny": 0.887,
    "hatemoji": 0.562,
    "youtube Shakira": 0.992,
    "sms-spam": 0.990,
}


def after_prefix(network: Qwen3ForCausalLM, cache: DynamicCache, ids: torch.Tensor) -> torch.Tensor:
    """Hidden states of rows that each continue the cached prefix; padding is on the right, where nothing looks."""
    shared = DynamicCache(config=network.config)
    for index, layer in enumerate(cache.layers):
        shared.update(layer.keys.expand(len(ids), -1, -1, -1), layer.values.expand(len(ids), -1, -1, -1), index)
    return network.model(input_ids=ids, past_key_values=shared, use_cache=True).last_hidden_state


class Reader:
    """A model and its tokenizer; reads labels the way serving does."""

    def __init__(self, network: Qwen3ForCausalLM, chat: ChatTokenizer) -> None:
        self.network, self.chat, self.labels = network, chat, check_labels(chat.tokenizer)

    @classmethod
    def load(cls, folder: Path) -> Reader:
        return cls(AutoModelForCausalLM.from_pretrained(folder).float().eval(), ChatTokenizer.from_folder(folder))

    def rows(self, policy: Policy, examples: Sequence[Example], head: str) -> list[packing.Row]:
        """The user's turns, and the answer as far as `head`."""
        compiled = compile_prompt(policy, "nano")
        contents = [Content(id="x", text=one.text, thread=tuple(Turn(text=turn) for turn in one.thread)) for one in examples]
        asked = packing.ask(self.chat, [compiled.ask(content).label() for content in contents])
        said = self.chat.encode(head)
        return [packing.Row((*ids, *said), (), len(ids) + len(said) - 1) for ids in asked]

    def prefix(self, policy: Policy) -> tuple[int, ...]:
        return tuple(self.chat.prefix(compile_prompt(policy, "nano").system))

    @torch.no_grad()
    def probabilities(self, policy: Policy, examples: Sequence[Example], head: str, tokens: Sequence[int]) -> np.ndarray:
        """For each example, the probability of each of these tokens after the head."""
        cache = self.network.model(input_ids=torch.tensor([self.prefix(policy)]), use_cache=True).past_key_values
        rows, found, start = self.rows(policy, examples, head), np.zeros((len(examples), len(tokens))), 0
        order = sorted(range(len(rows)), key=lambda index: len(rows[index].ids))  # that of `batches`
        for batch in packing.batches(rows, 4096):
            hidden = after_prefix(self.network, cache, packing.padded(batch))
            logits = self.network.lm_head(hidden[torch.arange(len(batch)), torch.tensor([row.read for row in batch])])
            found[order[start : start + len(batch)]] = logits.softmax(-1)[:, list(tokens)].numpy()
            start += len(batch)
        return found

    def read(self, policy: Policy, examples: Sequence[Example]) -> np.ndarray:
        """p(yes) among the labels, one number an example."""
        found = self.probabilities(policy, examples, '{"violates":"', [self.labels[label] for label in LABELS])
        return found[:, 0] / found.sum(1)

    @torch.no_grad()
    def continuation(self, policy: Policy, example: Example, head: str, stop: str, limit: int = 40) -> str:
        """Greedy text after the head, up to `stop`."""
        ids = [*self.prefix(policy), *self.rows(policy, [example], head)[0].ids]
        given, step, cache = len(ids), torch.tensor([ids]), None
        while len(ids) - given < limit:
            out = self.network(input_ids=step, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            ids.append(int(out.logits[0, -1].argmax()))
            step = torch.tensor([[ids[-1]]])
            text = self.chat.tokenizer.decode(ids[given:], skip_special_tokens=False)
            if stop in text or ids[-1] == 1:
                break
        return self.chat.tokenizer.decode(ids[given:], skip_special_tokens=False).split(stop)[0]


def interval(
    measure: Callable[[np.ndarray, np.ndarray], float], truth: np.ndarray, score: np.ndarray, rounds: int = 300
) -> list[float]:
    """The measure, and its 95 % bootstrap interval."""
    draw, values = np.random.default_rng(0), []
    for _ in range(rounds):
        pick = draw.integers(0, len(truth), len(truth))
        if 0 < truth[pick].sum() < len(truth):
            values.append(measure(truth[pick], score[pick]))
    return [round(float(value), 3) for value in (measure(truth, score), *np.percentile(values, (2.5, 97.5)))]


def measures(truth: Sequence[bool], score: np.ndarray) -> dict:
    gold = np.array(truth, dtype=int)
    return {
        "n": len(gold),
        "positive": int(gold.sum()),
        "auroc": interval(roc_auc_score, gold, score),
        "ap": interval(average_precision_score, gold, score),
        "f1": interval(lambda a, b: f1_score(a, b >= 0.5, zero_division=0), gold, score),
        "macro_f1": interval(lambda a, b: f1_score(a, b >= 0.5, average="macro", zero_division=0), gold, score),
    }  # fmt: skip


def suites(test: list[Example], data: Path) -> dict[str, tuple[tuple[str, ...], list[Example], list[bool]]]:
    """Name -> policies (the highest p(yes) counts), examples, whether people say that it violates."""
    by = {source: [example for example in test if example.source == source] for source in {example.source for example in test}}
    few = sorted(by["edos"], key=lambda example: hashed(example.text, 1 << 30))[:1500]
    surge = [(clean(row["text"]), row["is_toxic"] == "Toxic") for row in table(data / "surge-toxicity/toxicity_en.csv.gz")]
    broken = lambda examples: [bool(example.broken) and not example.excused for example in examples]  # noqa: E731
    return {
        "hatexplain": (("hate",), by["hatexplain"], ["hate.any" in example.broken for example in by["hatexplain"]]),
        "edos": (("hate",), few, broken(few)),
        "convabuse": (("harassment",), by["convabuse"], broken(by["convabuse"])),
        "misogyny": (("hate",), by["misogyny"], broken(by["misogyny"])),
        "hatemoji": (("hate",), by["hatemoji"], broken(by["hatemoji"])),
        "sms-spam": (("spam",), by["sms-spam"], broken(by["sms-spam"])),
        "youtube Shakira": (("spam",), by["youtube-spam"], broken(by["youtube-spam"])),
        "surge-toxicity": (
            ("harassment", "hate"),
            [Example(text, "surge") for text, _ in surge],
            [toxic for _, toxic in surge],
        ),
    }


def flips(reader: Reader, test: list[Example]) -> dict:
    """The same content under the policy whole, without the rule it breaks, and under a policy about something else."""
    cases = [
        ("hate", "edos", 400),
        ("hate", "hatemoji", 200),
        ("harassment", "convabuse", 200),
        ("spam", "youtube-spam", 200),
        ("spam", "sms-spam", 200),
    ]
    stances, found = {stance.policy.slug: stance for stance in policies.shipped()}, {}
    for slug, source, limit in cases:
        stance, before, after, away = stances[slug], [], [], []
        settled = [
            (example, ruling)
            for example in test
            if example.source == source
            and (ruling := policies.judge(stance, example))
            and ruling.label == "yes"
            and ruling.sure
        ]
        settled = settled[:limit]
        for rules in sorted({ruling.rules for _, ruling in settled}):
            chosen = [example for example, ruling in settled if ruling.rules == rules]
            kept = [rule.id for rule in stance.policy.rules if rule.id not in rules]
            before.append(reader.read(stance.policy, chosen))
            after.append(reader.read(stance.policy.slice(kept), chosen))
            away.append(reader.read(stances["spam" if slug != "spam" else "hate"].policy, chosen))
        whole, cut, off = map(np.concatenate, (before, after, away))
        found[f"{source} under {slug}"] = {
            "n": len(whole),
            "mean_p_whole": round(float(whole.mean()), 3),
            "mean_p_rule_removed": round(float(cut.mean()), 3),
            "mean_p_off_topic": round(float(off.mean()), 3),
            "share_lower": round(float((cut < whole).mean()), 3), "yes_whole": round(float((whole >= 0.5).mean()), 3),
            "yes_rule_removed": round(float((cut >= 0.5).mean()), 3), "yes_off_topic": round(float((off >= 0.5).mean()), 3),
        }  # fmt: skip
    return found


def glance(reader: Reader, test: list[Example], size: int = 150) -> dict[str, float]:
    """A quick look during training: how posts are ranked under their policy, and how much stays under another one."""
    found, draw = {}, random.Random(0)
    for source, slug, away in (("edos", "hate", "spam"), ("hatexplain", "hate", "spam"), ("youtube-spam", "spam", "hate")):
        of = [example for example in test if example.source == source]
        chosen = draw.sample(of, min(size, len(of)))
        truth = np.array([bool(example.broken - {"toxicity.offensive"}) for example in chosen])
        on, off = (reader.read(load_policy(name), chosen) for name in (slug, away))
        found |= {f"{source} auroc": float(roc_auc_score(truth, on)), f"{source} p": float(on[truth].mean())}
        found |= {f"{source} p other": float(on[~truth].mean()), f"{source} p away": float(off[truth].mean())}
    return found


def rule_ids(reader: Reader, test: list[Example], seed: int = 0, limit: int = 600) -> dict:
    """How often the likeliest rule id is the people's: as shipped, and with ids and order drawn anew."""
    stance = next(stance for stance in policies.shipped() if stance.policy.slug == "hate")
    settled = [
        (example, ruling.rules[0])
        for example in test
        if example.source in ("edos", "hatemoji")
        and (ruling := policies.judge(stance, example))
        and ruling.label == "yes"
        and ruling.sure
        and len(ruling.rules) == 1
    ]
    settled = random.Random(seed).sample(settled, min(limit, len(settled)))
    examples, gold = [example for example, _ in settled], [rule for _, rule in settled]
    found = {"n": len(gold), "most_common_rule": round(max(gold.count(rule) for rule in gold) / len(gold), 3)}
    order = random.Random(seed).sample(list(stance.policy.rules), len(stance.policy.rules))
    names = {rule.id: f"Q{index}" for index, rule in enumerate(order, 1)}
    renamed = stance.policy.replace(
        rules=tuple(rule.replace(id=names[rule.id]) for rule in order), exceptions=(), escalations=(), precedence=(), notices={}
    )
    for title, policy, target in (("shipped", stance.policy, gold), ("renamed", renamed, [names[rule] for rule in gold])):
        ids = [rule.id for rule in policy.rules]
        digits = [reader.chat.tokenizer.encode(f'"id":"{name}', add_special_tokens=False).ids[-1] for name in ids]
        chances = reader.probabilities(policy, examples, f'{{"violates":"yes","rules":[{{"id":"{ids[0][0]}', digits)
        found[title] = round(
            float(np.mean([ids[best] == rule for best, rule in zip(chances.argmax(1), target, strict=True)])), 3
        )
    return found


def quotes(reader: Reader, test: list[Example], limit: int = 60) -> dict:
    """Whether free (unconstrained, greedy) quotes stand in the content, and how they meet the people's spans."""
    policy, exact, overlap = load_policy("hate"), [], []
    chosen = [
        example for example in test if example.source == "hatexplain" and "hate.any" in example.broken and example.quotes
    ][:limit]
    for example in chosen:
        said = reader.continuation(policy, example, '{"violates":"yes","rules":[{"id":"H4","quote":"', '"')
        exact.append(bool(said) and said in literal(example.text))
        gold, got = set(quote_of(example).split()), set(said.split())
        overlap.append(2 * len(gold & got) / max(1, len(gold) + len(got)))
    return {
        "n": len(chosen),
        "verbatim": round(float(np.mean(exact)), 3),
        "word_f1_with_people": round(float(np.mean(overlap)), 3),
    }


def main(folder: Path, data: Path, test: list[Example], out: Path | None = None) -> dict:
    """Every measure, printed as it comes, and written to `out`."""
    reader, report = Reader.load(folder), {"suites": {}}
    torch.set_grad_enabled(False)
    for name, (slugs, examples, truth) in suites(test, data).items():
        score = np.max([reader.read(load_policy(slug), examples) for slug in slugs], axis=0)
        report["suites"][name] = measures(truth, score) | {"floor_auroc": FLOORS.get(name)}
        print(name, json.dumps(report["suites"][name]), flush=True)
    for name, measure in (("flips", flips), ("rule_ids", rule_ids), ("quotes", quotes)):
        report[name] = measure(reader, test)
        print(name, json.dumps(report[name]), flush=True)
    if out:
        out.write_text(json.dumps(report, indent=1) + "\n")
    return report
