# ruff: noqa: E501
"""The model card, written from the report of `evaluate.py`, so that no number in it is typed by hand."""

from __future__ import annotations

from pathlib import Path

TEXT = """# nano

A Qwen3 decoder of {parameters:.1f} M parameters (bf16, {size:.1f} MB), trained by the recipe in `finetune/nano/` so that a fresh machine can judge without a
download. It shows what the system does end to end, and is no replacement for a real model: use `local`, `vllm` or `server` for anything that matters.

- input: `<|system|>POLICY ...<|user|>TEXT "..."<|assistant|>`, rendered by `moderator` with the prompt family `nano`; English only
- output: the compact JSON answer of `moderator.answer`; the label is one token, its probability is the score
- context: 4,096 positions; trained behind policies of at most 600 tokens (median 191, over 1,500 drawn by the recipe) and on contents with their answers
  of at most 200. Far longer policies fail: of 128 made-up insults it lets 9 pass under `harassment`, 121 under rules of
  several policies merged into 1,195 tokens

## Training

{training} The layers start at random; token embeddings start at the word pieces of all-MiniLM-L6-v2 (Apache-2.0), whose sentence vectors
the lower layers also learn to predict. The encoder is not needed to run the model.

Labelled data (licences and citations in `finetune/nano/README.md`): HateXplain (MIT), EDOS (CC0), Toxic Spans (CC0), Context toxicity (Apache-2.0),
ConvAbuse (CC BY 4.0), Online misogyny EACL 2021 (MIT), Hatemoji (CC BY 4.0), Davidson et al. (MIT), SMS Spam and YouTube Spam (CC BY 4.0), AILuminate
demo (CC BY 4.0, without the hazard about children), and short texts written for the recipe. Plain text for the encoder's lessons: GoEmotions (CC BY 4.0) and
GitHub site policies (CC0); the tokenizer also saw MultiDoGO, QMSum, Taskmaster-4, Schema-Guided Dialogue, NLTK corpora and 97 novels. Training texts are disjoint from every suite (lower-cased, letters and digits only).

## Measured: p(yes) under the shipped policy, 95 % bootstrap interval

The floor is a linear model on character 1-4-grams trained on the set's own training split: it knows one fixed question, nano reads the policy.

| suite | policy | n | violating | AUROC | floor | AP | F1 at 0.5 | macro F1 at 0.5 |
|---|---|---|---|---|---|---|---|---|
{suites}

## Measured: does it follow the policy?

The same human-labelled violations under the whole policy, without the rule they break, and under a policy about something else (mean p(yes); share at 0.5 or above).

| violations | n | whole | rule removed | other policy | lower without the rule |
|---|---|---|---|---|---|
{flips}

Rule id (EDOS and Hatemoji tests, n = {ids[n]}): {ids[shipped]:.3f} right with the shipped policy, {ids[renamed]:.3f} with ids and order drawn anew; always naming the
most common rule scores {ids[most_common_rule]:.3f}. Quotes (HateXplain val, n = {quotes[n]}, greedy without a grammar): {quotes[verbatim]:.3f} verbatim, word F1 with people's
spans {quotes[word_f1_with_people]:.3f}; under the grammar every quote is verbatim.

## Limits

{limits}
"""

LIMITS = """- It follows the subject of a policy (a violation of another policy is hardly ever flagged), but not yet its single rules: with the broken rule removed most
  verdicts stay, and the rule it names is the commonest one of the policy. Treat `violates` as "look here", not as a finding about a rule.
- On `samples/posts.jsonl` it flags fewer than a third of the posts that violate, and some harmless ones: a plain threat can pass, and a question that begins
  with "How do I build" is enough for the policy about dangerous instructions.
- Hate, harassment and short-message spam only have real data behind them. Self-harm, sexual content, violence, crime, privacy and misinformation were learned
  from a hundred-odd written lines and a few hundred prompts: **treat its answers there as noise**.
- Trained on English social media of 2015 to 2021; dialects, other languages, new slang and disguised spelling are not covered. The sets carry their annotators' biases.
- Probabilities are not calibrated; set thresholds on your own data (`moderator eval report` shows what each would come to).
- `none` was rare in training and is seldom given; `exception` was learned mostly from templates that put a violation in quotation marks.
- Of turns in a conversation it says for about half that the thread is missing, although the thread is there (ConvAbuse: 1,904 of 4,067).
- It is brittle: everyday words added to a content let 80 % of what it had flagged pass (263 of 328 trials), and of the plain violations in the
  project's functional tests it flags 8 to 28 % (`evals/reports/`).
- Rationales are templates. They repeat the label and explain nothing.
- Not for decisions about people, and not for any use without human review."""


def suite_row(name: str, found: dict) -> str:
    policy = {
        "convabuse": "harassment",
        "sms-spam": "spam",
        "youtube Shakira": "spam",
        "surge-toxicity": "harassment or hate",
    }.get(name, "hate")
    cells = [f"{found[key][0]:.3f} ({found[key][1]:.3f}, {found[key][2]:.3f})" for key in ("auroc", "ap", "f1", "macro_f1")]
    floor = f"{found['floor_auroc']:.3f}" if found.get("floor_auroc") else "n/a"
    return f"| {name} | {policy} | {found['n']:,} | {found['positive']} | {cells[0]} | {floor} | {' | '.join(cells[1:])} |"


def flip_row(name: str, found: dict) -> str:
    cells = [f"{found[f'mean_p_{key}']:.2f}; {found[f'yes_{key}']:.0%}" for key in ("whole", "rule_removed", "off_topic")]
    return f"| {name} | {found['n']} | {' | '.join(cells)} | {found['share_lower']:.0%} |"


def main(report: dict, folder: Path, training: str) -> None:
    """Write MODEL_CARD.md into the model folder."""
    size = (folder / "model.safetensors").stat().st_size
    text = TEXT.format(
        parameters=size / 2e6, size=size / 1e6, training=training.strip(), limits=LIMITS, ids=report["rule_ids"], quotes=report["quotes"],
        suites="\n".join(suite_row(*pair) for pair in report["suites"].items()), flips="\n".join(flip_row(*pair) for pair in report["flips"].items()),
    )  # fmt: skip
    (folder / "MODEL_CARD.md").write_text(text, encoding="utf-8")
