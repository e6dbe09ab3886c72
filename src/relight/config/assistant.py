"""The sections of `relight.toml` below `[assistant]`, as `schema` has the others. Must not know where values come from."""

# No `from __future__ import annotations` here, as in `schema`.
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, Struct, field

from relight.config.fields import Count, ModeName, SecretName, Share, Temperature
from relight.values import Bytes, Duration

ASSISTANT: Final = "assistant"
"""The name that clients ask for; `assistant:MODE` asks for one of its modes."""


class DetectorKind(StrEnum):
    """What tells a message's mode where rules do not."""

    MINILM = "minilm"
    STATIC = "static"
    NGRAM = "ngram"


class Mode(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A way of answering that the assistant picks by the message."""

    about: Annotated[
        str | None,
        Meta(
            description="What messages of this mode are about, in a sentence; its phrases between commas teach as well.",
            examples=["questions about things I built"],
        ),
    ] = None
    examples: Annotated[
        tuple[str, ...],
        Meta(
            description="Messages as people type them; eight varied ones are enough. Without any, the mode is only ever chosen "
            "by name, by a rule or as `default_mode`.",
            examples=[("what have you built?", "show me your projects")],
        ),
    ] = ()
    topics: Annotated[
        str | None,
        Meta(
            description="File with topics of this mode, between commas or on lines: each teaches, as examples do. When a "
            "message goes astray, add its topic.",
            examples=["topics/projects.txt"],
        ),
    ] = None
    keywords: Annotated[
        tuple[str, ...],
        Meta(
            description="Whole words that decide for this mode, unless another mode's are there, too.",
            examples=[("cv", "resume")],
        ),
    ] = ()
    patterns: Annotated[
        tuple[str, ...],
        Meta(description="Regular expressions that decide in the same way; case does not count.", examples=[("\\bhire\\b",)]),
    ] = ()
    prompt: Annotated[
        str | None,
        Meta(description="File with what the model is told in this mode, after the persona.", examples=["prompts/projects.md"]),
    ] = None
    model: Annotated[
        str | None, Meta(description="Model that answers in this mode; left out: `assistant.model`.", examples=["cloud"])
    ] = None
    temperature: Annotated[Temperature | None, Meta(description="Sampling temperature of the answers.", examples=[0.3])] = None
    top_p: Annotated[Share | None, Meta(description="Share of probability that is sampled from.", examples=[0.9])] = None
    max_tokens: Annotated[Count | None, Meta(description="Most tokens of an answer.", examples=[200])] = None
    json_schema: Annotated[
        str | None,
        Meta(description="File with a JSON Schema that answers keep to.", examples=["schemas/booking.json"]),
    ] = None
    reply: Annotated[
        str | None,
        Meta(
            description="Always the same answer: no model is asked, none wakes, nothing is spent.",
            examples=["I can tell you about my work. What would you like to know?"],
        ),
    ] = None


class Page(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the chat page and the widget present the assistant."""

    title: Annotated[
        str | None, Meta(description="What stands at the top; left out: the service's name.", examples=["Ask Mira"])
    ] = None
    greeting: Annotated[
        str, Meta(description="First words, before anybody has asked.", examples=["Hello! Ask me about my work."])
    ] = "Hello! What would you like to know?"
    suggestions: Annotated[
        tuple[str, ...], Meta(description="Questions to begin with, as buttons.", examples=[("What have you built?",)])
    ] = ()
    accent: Annotated[
        str, Meta(description="Colour of buttons and links, as #RRGGBB.", pattern="^#[0-9a-fA-F]{6}$", examples=["#0f766e"])
    ] = "#0f766e"


class Budget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the assistant may use in a day (UTC), all visitors together. Left out: as much as it is asked for."""

    tokens_per_day: Annotated[Count | None, Meta(description="Tokens of prompts and answers.", examples=[2_000_000])] = None
    usd_per_day: Annotated[float | None, Meta(description="Cost by the models' `price`, in USD.", examples=[2.0])] = None


class Says(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a visitor reads when there is no answer. The log has the technical words."""

    over_budget: Annotated[str, Meta(description="The day's budget, or the visitor's share of it, is used up.")] = (
        "I have answered all I can for today. Please come back tomorrow."
    )
    rate_limited: Annotated[str, Meta(description="The visitor asks too fast.")] = "One moment, please: that was a lot at once."
    waking: Annotated[str, Meta(description="The model did not wake in time.")] = (
        "I am still waking up. Please ask again in a moment."
    )
    unavailable: Annotated[str, Meta(description="The model or its provider does not answer.")] = (
        "I cannot answer just now. Please try again later."
    )
    too_long: Annotated[str, Meta(description="The message, or the conversation, is too long.")] = (
        "That is more than I can read at once. Please ask in fewer words, or start a new conversation."
    )
    unknown: Annotated[str, Meta(description="Nothing that `assistant.quote` could quote is about the question.")] = (
        "I do not know that."
    )
    refused: Annotated[str, Meta(description="The visitor may not ask here, or the request is not right.")] = (
        "I cannot answer this request."
    )
    internal: Annotated[str, Meta(description="Something went wrong inside the service.")] = (
        "Something went wrong on my side. Please try again."
    )


class Hooks(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Python functions of your own, as `module:function`; modules beside this file are found. They may be async."""

    detect: Annotated[
        str | None,
        Meta(
            description="Asked for the mode first, with a `Message`: returns its name, or None to leave it to the others.",
            examples=["hooks:detect"],
        ),
    ] = None
    before_prompt: Annotated[
        str | None,
        Meta(
            description="Called with a `Draft` before the model is asked: returns text that goes with the question, or None.",
            examples=["hooks:before_prompt"],
        ),
    ] = None
    after_answer: Annotated[
        str | None,
        Meta(description="Told of every answer, as an `Answered`, once it is out.", examples=["hooks:after_answer"]),
    ] = None
    timeout: Annotated[
        Duration,
        Meta(
            description="Longest time that a hook may take; then the assistant goes on without it.",
            examples=["2s"],
            extra={"at_least": "10ms"},
        ),
    ] = Duration(2)


class Assistant(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The model `assistant`, and `POST /chat`: picks a mode, builds the prompt, asks a model."""

    model: Annotated[
        str | None,
        Meta(description="Model that answers; left out: the only one, if there is one.", examples=["smol"]),
    ] = None
    persona: Annotated[
        str | None,
        Meta(
            description="File with who the assistant is and how it speaks; the prompt begins with it.",
            examples=["prompts/persona.md"],
        ),
    ] = None
    knowledge: Annotated[
        tuple[str, ...],
        Meta(description="Files that it knows: Markdown, text, HTML and PDF (patterns allowed).", examples=[("content/*.md",)]),
    ] = ()
    knowledge_budget: Annotated[
        int,
        Meta(
            description="Tokens up to which all knowledge stands in every prompt (and so in its prefix snapshot); what is larger "
            "is searched, and the passages that fit the question stand there.",
            ge=0,
            examples=[2000],
        ),
    ] = 2000
    passages: Annotated[int, Meta(description="How many passages are looked up then.", ge=1, le=20, examples=[4])] = 4
    quote: Annotated[
        bool,
        Meta(
            description="Answer in whole sentences of the paragraph that fits the question: for models too small to be trusted "
            "with words of their own. Only what llama.cpp runs is held to it; other models answer as without it."
        ),
    ] = False
    subject: Annotated[
        str | None,
        Meta(
            description='Whom "you" means: questions are looked up, and those to be quoted are asked, with this name instead.',
            examples=["Mira"],
        ),
    ] = None
    default_mode: Annotated[
        str | None,
        Meta(description="Mode of messages that fit no other; left out: the persona alone answers them.", examples=["projects"]),
    ] = None
    detector: Annotated[
        DetectorKind,
        Meta(
            description="What tells the mode from examples: minilm (a small transformer; best), static (its word vectors; "
            "faster) or ngram (letters alone; needs no weights)."
        ),
    ] = DetectorKind.MINILM
    threshold: Annotated[
        Share | None,
        Meta(
            description="Confidence below which no mode is taken; `relight modes fit` finds it. Left out: the detector's own.",
            examples=[0.5],
        ),
    ] = None
    decider: Annotated[
        str | None, Meta(description="Model that is asked for the mode when the detector is not sure.", examples=["smol"])
    ] = None
    max_message: Annotated[Bytes, Meta(description="Longest message of a visitor.", examples=["4KiB"])] = Bytes(4 << 10)
    max_history: Annotated[
        int, Meta(description="Most earlier messages that a request may bring along.", ge=0, le=1000, examples=[40])
    ] = 40
    public: Annotated[
        bool,
        Meta(description="Let anybody use the page, the widget and `/chat`, also when keys guard the models themselves."),
    ] = False
    origins: Annotated[
        tuple[str, ...],
        Meta(
            description="Sites that may embed the widget. Left out: any that may call the service at all.",
            examples=[("https://mira.example",)],
        ),
    ] = ()
    key: SecretName = field(default_factory=SecretName)
    """What ratings are signed with; left out: a key of this process, so that answers of before a restart cannot be rated."""
    modes: dict[ModeName, Mode] = field(default_factory=dict)
    page: Page = field(default_factory=Page)
    budget: Budget = field(default_factory=Budget)
    says: Says = field(default_factory=Says)
    hooks: Hooks = field(default_factory=Hooks)

    @property
    def is_there(self) -> bool:
        """Whether the file describes one at all."""
        return bool(self.model or self.persona or self.knowledge or self.modes)


__all__ = [
    "ASSISTANT",
    "Assistant",
    "Budget",
    "DetectorKind",
    "Hooks",
    "Mode",
    "Page",
    "Says",
]
