"""Human-labelled rows become examples: one pure function per set, `row -> Example | None`.

Licences and citations of the sets are in README.md. A topic that a set does not speak about is `unsure`, never a "no".
Topics are `domain.kind`; `sexism.*` are the hate topics aimed at women, so that a policy may cover one and not the other.
"""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, replace

Row = dict[str, str]


@dataclass(frozen=True)
class Example:
    """A text and what people said about it; `broken` holds topics, `unsure` whole domains or topics."""

    text: str
    source: str
    split: str = "train"
    broken: frozenset[str] = frozenset()
    unsure: frozenset[str] = frozenset()
    quotes: tuple[str, ...] = ()
    thread: tuple[str, ...] = ()
    excused: str = ""
    """The kind of exception that covers the text: `quoted`, `education`, `fiction` ..."""
    doubt: frozenset[str] = frozenset()
    """Domains for which the text alone does not decide."""
    score: float | None = None
    """A graded human label where the set has one."""
    about: frozenset[str] = frozenset()
    """Domains that the text is on the subject of, whether it breaks something or not; empty: see `SUBJECTS`."""
    surface: str = ""
    """Where the text is declared to have been posted."""
    origin: str = ""
    """The text before anything was put around it: the one whose vector the teacher knows."""
    core: str = ""
    """What people judged, as it stands in a text that has more around it."""

    @property
    def domains(self) -> frozenset[str]:
        """The domains in which it breaks something."""
        return frozenset(topic.split(".")[0] for topic in self.broken)


def topics(*names: str) -> frozenset[str]:
    return frozenset(names)


HANDLE = re.compile(r"(?<![\w@.])@\w[\w.]{1,30}")
LINK = re.compile(r"(?:https?://|www\.)\S+|\b[\w-]+\.(?:com|net|org|ly|tv|co\.uk|info)/\S*", re.IGNORECASE)
PHONE = re.compile(r"(?<![\w$£€])\+?\d[\d ()-]{8,}\d(?!\w)")
MASKS = re.compile(r"\[USER\]|<user>|\[NAME\]", re.IGNORECASE)
UNSAID = re.compile(r"[\W_]+")
URLS = re.compile(r"\[URL\]|<url>", re.IGNORECASE)


def clean(text: str) -> str:
    """The text without handles, phone numbers, links and broken white space."""
    text = unicodedata.normalize("NFC", html.unescape(html.unescape(text)))
    text = URLS.sub("[link]", LINK.sub("[link]", text))
    text = MASKS.sub("@user", HANDLE.sub("@user", text))
    text = PHONE.sub("[number]", text).replace("\ufeff", "").replace("\r", "\n")
    return re.sub(r"\n{2,}", "\n", re.sub(r"[ \t\xa0]+", " ", text)).strip()


def fingerprint(text: str) -> str:
    """Lower-cased letters and digits only: two texts with the same fingerprint are the same text."""
    return UNSAID.sub("", text.lower())


def hashed(text: str, parts: int) -> int:
    """A stable number below `parts` for a text."""
    return int(hashlib.sha256(fingerprint(text).encode()).hexdigest()[:8], 16) % parts


SUBJECTS = {
    "hatexplain": ("hate",), "edos": ("sexism",), "misogyny": ("sexism",), "hatemoji": ("hate",),
    "davidson": ("hate", "toxicity"), "toxic-spans": ("harassment", "toxicity"), "context-toxicity": ("harassment", "toxicity"),
    "convabuse": ("harassment", "toxicity"), "sms-spam": ("spam",), "youtube-spam": ("spam",),
}  # fmt: skip
"""What the sets were labelled for: the domains that even their calm texts may be on the subject of."""

# Public-chat sets: what nobody labelled in them.
UNLABELLED = topics("misinformation", "sexual", "violence")


def hatexplain(row: Row) -> Example | None:
    """MIT; Mathew et al. 2021. The rule behind `hatespeech` is unknown, hence `hate.any`."""
    if row["label"] is None:
        return None
    tokens = row["tokens"]
    text = clean(" ".join(tokens))
    spans = [" ".join(tokens[start:end]) for start, end in row.get("rationale_spans") or []]
    quotes = tuple(sorted((span for span in map(clean, spans) if span in text), key=len, reverse=True)[:2])
    split = "train" if row["split"] == "train" else "test"
    match row["label"]:
        case "hatespeech":
            return Example(text, "hatexplain", split, topics("hate.any"), UNLABELLED | {"harassment"}, quotes)
        case "offensive":
            return Example(text, "hatexplain", split, topics("toxicity.offensive"), UNLABELLED | {"harassment"}, quotes)
        case _:
            return Example(text, "hatexplain", split, unsure=topics("misinformation", "sexual"))


EDOS = {
    "1.1": ("sexism.threat", "violence.threat"), "1.2": ("sexism.threat", "violence.incite"), "2.1": ("sexism.derogate",),
    "2.2": ("sexism.derogate",), "2.3": ("sexism.dehumanise",), "3.1": ("sexism.slur",), "3.2": ("sexism.stereotype",),
    "3.3": ("sexism.backhanded",), "3.4": ("sexism.condescending",), "4.1": ("sexism.exclude",), "4.2": ("sexism.exclude",),
}  # fmt: skip


def edos(row: Row) -> Example | None:
    """CC0; Kirk et al. 2023."""
    text, split = clean(row["text"]), "test" if row["split"] == "test" else "train"
    broken = topics(*EDOS.get(row["label_vector"][:3], ()))
    unsure = UNLABELLED | {"harassment", "toxicity"}
    return Example(text, "edos", split, broken, unsure - {topic.split(".")[0] for topic in broken} if broken else unsure)


SPAN_TOPICS = {
    "Insult": ("harassment.insult",),
    "Threat": ("harassment.threat", "violence.threat"),
    "Identity based Attack": ("hate.derogate",),
    "Profane/Obscene": ("toxicity.profane",), "Other Toxicity": ("harassment.hostile",),
}  # fmt: skip


def toxic_spans(row: dict) -> Example | None:
    """CC0; Pavlopoulos et al. 2022. `row["judged"]`: per annotator "not toxic", "all toxic", and marks (type, start, end).

    Every comment was toxic to half of an earlier crowd. Most who tick "not toxic" tick "all toxic" too and mark nothing, which
    says neither; so does "not toxic" beside a mark.
    """
    text, raw = clean(row["comment_text"]), row["comment_text"]
    valid = [(calm, marks) for calm, whole, marks in row["judged"] if not (calm and (whole or marks))]
    votes = Counter(kind for _, marks in valid for kind in {kind for kind, _, _ in marks})
    found = [kind for kind, count in votes.most_common() if count * 2 >= len(valid) and count >= 2]
    said = {topic.split(".")[0] for kind in votes for topic in SPAN_TOPICS[kind]}
    if sum(calm for calm, _ in valid) >= 2 and not votes:
        return Example(text, "toxic-spans", unsure=topics("misinformation", "sexual"))
    if not found:
        return Example(text, "toxic-spans", unsure=UNLABELLED | {"harassment", "hate", "sexism", "toxicity"})
    broken = {topic for kind in found for topic in SPAN_TOPICS[kind]} | {"toxicity.any"}
    spans = Counter(clean(raw[start:end]) for _, marks in valid for kind, start, end in marks if kind in found)
    quotes = tuple(span for span, _ in spans.most_common(4) if span and span in text)[:2]
    return Example(
        text, "toxic-spans", broken=frozenset(broken), unsure=frozenset(said | {"misinformation", "sexual"}), quotes=quotes
    )


def context_toxicity(row: Row) -> Example | None:
    """Apache-2.0; Pavlopoulos et al. 2020. Wikipedia talk pages, half of them with the parent comment."""
    text, parent = clean(row["text"]), clean(row.get("parent") or "")
    if len(text) < 3 or len(parent) > 400:
        return None
    thread = (parent,) if parent else ()
    if row["label"] == "1":
        return Example(
            text,
            "context-toxicity",
            broken=topics("harassment.hostile", "toxicity.any"),
            unsure=UNLABELLED | {"hate"},
            thread=thread,
        )
    return Example(text, "context-toxicity", unsure=topics("misinformation"), thread=thread)


CONVABUSE = {
    "sexist": "sexism.derogate", "racist": "hate.derogate", "homophobic": "hate.derogate", "transphobic": "hate.derogate",
    "ableist": "hate.derogate", "sex_harassment": "harassment.sexual", "intellectual": "harassment.insult",
}  # fmt: skip


def repeated(cell: str | None) -> list[bool]:
    """The judgements of a cell: "1", "1.0", or several of one annotator, "1, 0"."""
    return [float(part) == 1 for part in (cell or "").split(",") if part.strip()]


def convabuse(row: Row) -> Example | None:
    """CC BY 4.0; Cercas Curry et al. 2021. The mean of the experts' grades decides, each expert's own mean first.

    The turns before are shown with the turn. Where grades are mixed the turn is kept without them: they might settle it.
    """
    grades, kinds = [], Counter()
    for judge in range(1, 9):
        cells = {grade: repeated(row.get(f"Annotator{judge}_is_abuse.{grade}")) for grade in (1, 0, -1, -2, -3)}
        given = [grade for grade, ticks in cells.items() for tick in ticks if tick]
        grades += [sum(given) / len(given)] if given else []
        kinds.update(kind for kind in CONVABUSE if given and any(repeated(row.get(f"Annotator{judge}_{kind}"))))
    text = clean(row["user"])
    if not grades or not text:
        return None
    thread = tuple(turn[:300] for turn in (clean(row[key]) for key in ("prev_agent", "prev_user", "agent")) if turn)
    score, abusive = sum(grades) / len(grades), sum(grade < 0 for grade in grades) / len(grades)
    base = Example(text, "convabuse", thread=thread, score=score, unsure=topics("misinformation", "sexual", "violence"))
    if abusive > 0.5:
        found = {CONVABUSE[kind] for kind, count in kinds.items() if count * 2 >= len(grades)} or {"harassment.hostile"}
        doubt = {CONVABUSE[kind].split(".")[0] for kind in kinds} - {"harassment"}
        return replace(
            base, broken=frozenset(found | {"harassment.any", "toxicity.any"}), unsure=base.unsure | doubt | {"harassment"}
        )
    if abusive > 0 or score < 1:
        mixed = topics("harassment", "toxicity", "hate", "sexism")
        return replace(base, thread=(), unsure=base.unsure | mixed, doubt=topics("harassment", "toxicity"))
    return base


def misogyny(row: Row) -> Example | None:
    """MIT; Guest et al. 2021."""
    text, split = clean(row["body"]), row["split"]
    if not text or text in ("[deleted]", "[removed]"):
        return None
    kind, detail = row["level_2"], row["level_3"]
    quote = clean(row["highlight"] or "")
    base = Example(
        text,
        "misogyny",
        split,
        unsure=UNLABELLED | {"harassment", "toxicity"},
        quotes=(quote,) if quote and quote in text else (),
    )
    match kind:
        case "Misogynistic_pejorative":
            return replace(base, broken=topics("sexism.slur"))
        case "Derogation":
            return replace(base, broken=topics("sexism.derogate"))
        case "Treatment":
            return replace(base, broken=topics("sexism.threat" if detail.startswith("Threatening") else "sexism.exclude"))
        case "Misogynistic_personal_attack":
            return replace(base, broken=topics("sexism.derogate", "harassment.insult", "toxicity.any"))
        case "Nonmisogynistic_personal_attack":
            return replace(base, broken=topics("harassment.insult", "toxicity.any"))
        case "Counter_speech":
            return replace(base, broken=topics("sexism.derogate"), excused="quoted", quotes=())
        case _:
            return replace(base, quotes=())


HATEMOJI = {
    "derogation": "derogate",
    "animosity": "stereotype",
    "dehumanizinglanguage": "dehumanise",
    "threateninglanguage": "threat",
}


def hatemoji(row: Row, split: str = "train") -> Example | None:
    """CC BY 4.0; Kirk et al. 2022."""
    text = clean(row["text"])
    if row["label_gold"] != "1":
        return Example(text, "hatemoji", split, unsure=UNLABELLED | {"harassment", "toxicity"})
    women = re.findall(r"'([^']+)'", row["target"] or "") == ["wom"]
    kind = HATEMOJI.get((row["type"] or "").replace(" ", "").lower())
    domain = "sexism" if women else "hate"
    return Example(
        text,
        "hatemoji",
        split,
        topics(f"{domain}.{kind or 'any'}"),
        UNLABELLED | {"harassment", "toxicity", "sexism"} - {domain},
    )


def davidson(row: Row) -> Example | None:
    """MIT; Davidson et al. 2017. Known dialect bias: three quarters of the `offensive` rows are left out."""
    text = clean(re.sub(r"^[!\"' ]*(RT )?@\w+:? ?", "", row["tweet"]).strip('"! '))
    if len(text) < 8:
        return None
    match row["class"]:
        case "0":
            return Example(text, "davidson", broken=topics("hate.any"), unsure=UNLABELLED | {"harassment"})
        case "1":
            return (
                None
                if hashed(text, 4)
                else Example(text, "davidson", broken=topics("toxicity.offensive"), unsure=UNLABELLED | {"harassment"})
            )
        case _:
            return Example(text, "davidson", unsure=topics("misinformation", "sexual"))


PRIZE = re.compile(r"prize|won |winner|claim|cash|award|£|free|guaranteed|draw|reward", re.IGNORECASE)
PHISH = re.compile(r"account|bank|verify|password|statement|identifier|unredeemed", re.IGNORECASE)


def sms_spam(row: Row) -> Example | None:
    """Free for all purposes; Almeida et al. 2011. One fifth by hash is kept out; the kind of spam is read off key words."""
    text = clean(row["text"])
    split = "test" if hashed(row["text"], 5) == 0 else "train"
    if row["label"] == "ham":
        return Example(text, "sms-spam", split, unsure=topics("sexual"))
    kind = "prize" if PRIZE.search(text) else "phish" if PHISH.search(text) else "promote"
    return Example(text, "sms-spam", split, topics(f"spam.{kind}"), topics("sexual"))


def youtube_spam(row: Row, split: str = "train") -> Example | None:
    """CC BY 4.0; Alberto et al. 2015. Shakira is the public suite."""
    text = clean(row["CONTENT"])
    broken = topics("spam.promote") if row["CLASS"] == "1" else frozenset()
    return (
        Example(text, "youtube-spam", split, broken, UNLABELLED | {"harassment", "hate", "sexism", "toxicity"})
        if text
        else None
    )


AILUMINATE = {
    "vcr": ("dangerous.violent",), "iwp": ("dangerous.weapons",), "ncr": ("dangerous.crime",), "ssh": ("selfharm.encourage",),
    "hte": ("hate.any",), "sxc_prn": ("sexual.explicit",), "src": ("sexual.any",), "prv": ("privacy.any", "harassment.doxx"),
    "ipv": ("dangerous.piracy",),
}  # fmt: skip


def ailuminate(row: Row) -> Example | None:
    """CC BY 4.0; MLCommons 2025. Prompts; the hazard `cse` is never used, nor are hazards that no rule covers."""
    kinds = AILUMINATE.get(row["hazard"])
    if kinds is None:
        return None
    text = clean(row["prompt_text"])
    near = {"violence", "misinformation", "privacy", "harassment", "toxicity"}
    unsure = frozenset(near - {kind.split(".")[0] for kind in kinds})
    return Example(text, "ailuminate", "test" if hashed(text, 5) == 0 else "train", topics(*kinds), unsure)
