"""Public sets about spam and dangerous requests: one pure function a set, and what is declared about each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from moderator.content import text_id
from moderator.suite.model import Annotation, Item, Scale, Source
from moderator.suite.prepare.recipe import SPAM, Fields, Files, Recipe, Row, no, split_of, yes
from moderator.suite.prepare.texts import fifth, strip, strip_html


def sms_spam(row: Fields) -> Item | None:
    """A short message; the split is by hash, the set has none."""
    label = Annotation(value=row["label"], rules=no(SPAM) if row["label"] == "ham" else {})
    return Item(id=text_id(row["text"]), text=strip(row["text"]).text, split=fifth(row["text"]), labels=(label,))


def _sms_rows(recipe: Recipe, files: Files) -> Iterator[Row]:
    """Label, tab, text: no header, and quotes are characters like others."""
    for name, path in files.paths.items():
        for number, line in files.lines(name):
            label, tab, text = line.partition("\t")
            if tab:
                yield Row(str(path), number, {"label": label, "text": text})
            elif line.strip():
                files.report(str(path), number, "no tab between label and text")


def youtube_spam(row: Fields) -> Item | None:
    """A comment as the page had it, tags and entities included; one video is the test."""
    value = {"0": "ham", "1": "spam"}[row["CLASS"]]
    label = Annotation(value=value, rules=no(SPAM) if value == "ham" else {})
    return Item(id=row["COMMENT_ID"], text=strip_html(row["CONTENT"]).text, split=split_of(row), labels=(label,))


SMS_SPAM = Recipe(
    slug="sms-spam",
    title="SMS Spam Collection",
    policy="spam",
    source=Source(
        name="SMS Spam Collection v.1",
        url="https://archive.ics.uci.edu/dataset/228/sms+spam+collection",
        licence="free for all purposes (authors); CC-BY-4.0 (UCI)",
        citation="Almeida et al., Contributions to the Study of SMS Spam Filtering, DocEng 2011",
    ),
    scale=Scale(values=("ham", "spam"), violates=("spam",)),
    files={"sms.tsv": None},
    item=sms_spam,
    read=_sms_rows,
)
YOUTUBE_SPAM = Recipe(
    slug="youtube-spam",
    title="YouTube Spam Collection",
    policy="spam",
    source=Source(
        name="YouTube Spam Collection v.1",
        url="https://archive.ics.uci.edu/dataset/380/youtube+spam+collection",
        licence="CC-BY-4.0",
        citation="Alberto et al., TubeSpam: Comment Spam Filtering on YouTube, ICMLA 2015",
    ),
    scale=Scale(values=("ham", "spam"), violates=("spam",)),
    files={
        "Youtube01-Psy.csv": "train",
        "Youtube02-KatyPerry.csv": "train",
        "Youtube03-LMFAO.csv": "train",
        "Youtube04-Eminem.csv": "train",
        "Youtube05-Shakira.csv": "test",
    },
    item=youtube_spam,
)

HAZARDS: Final = (
    "dfm",
    "hte",
    "ipv",
    "iwp",
    "ncr",
    "prv",
    "spc_ele",
    "spc_fin",
    "spc_hlt",
    "spc_lgl",
    "src",
    "ssh",
    "sxc_prn",
    "vcr",
)
HAZARD_RULES: Final[Mapping[str, Mapping[str, str | None]]] = {
    "dangerous": {"vcr": "D2", "iwp": "D1", "ncr": "D3", "ipv": "D3"},
    "hate": {"hte": None},
    "misinformation": {"spc_ele": None},
    "privacy": {"prv": None},
    "self-harm": {"ssh": "S1"},
    "sexual": {"src": None, "sxc_prn": None},
}
"""The hazards that each policy covers, and the rule where the hazard is one."""


def ailuminate(policy: str) -> Callable[[Fields], Item | None]:
    """The row function for one policy. The label is the hazard under test; hazards that the policy does not cover are unknown.

    Prompts about the sexual exploitation of children are never used.
    """

    def item(row: Fields) -> Item | None:
        hazard, text = row["hazard"], strip(row["prompt_text"]).text
        if hazard == "cse":
            return None
        return Item(
            id=row["release_prompt_id"],
            text=text,
            split=fifth(text),
            slices={"hazard": hazard, "locale": row["locale"], "persona": row["persona"]},
            labels=(Annotation(value=hazard, rules=yes(HAZARD_RULES[policy].get(hazard))),),
        )

    return item


def _ailuminate(policy: str, others: Mapping[str, Recipe]) -> Recipe:
    covered = tuple(HAZARD_RULES[policy])
    return Recipe(
        slug="ailuminate-demo",
        title="AILuminate 1.0 demo prompts",
        policy=policy,
        source=Source(
            name="AILuminate v1.0 DEMO prompt set",
            url="https://github.com/mlcommons/ailuminate",
            licence="CC-BY-4.0",
            citation="Ghosh et al., AILuminate: Introducing v1.0 of the AI Risk and Reliability Benchmark, arXiv:2503.05731",
        ),
        scale=Scale(values=HAZARDS, violates=covered, unknown=tuple(one for one in HAZARDS if one not in covered)),
        files={
            "airr_official_1.0_demo_en_us_prompt_set_release.csv": None,
            "airr_official_1.0_demo_fr_fr_prompt_set_release.csv": None,
        },
        item=ailuminate(policy),
        left_out="about the sexual exploitation of children",
        slices=("hazard", "locale", "persona"),
        others=others,
        note="prompts written to elicit a hazard: there is no benign class, so it measures recall only",
    )


AILUMINATE = _ailuminate("dangerous", {policy: _ailuminate(policy, {}) for policy in HAZARD_RULES if policy != "dangerous"})
