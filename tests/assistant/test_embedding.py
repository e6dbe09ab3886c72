"""Vectors: of the real graph in the real runtime with random weights, of letters, and as they are kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relight.assistant import embedding, minilm, static
from relight.assistant.detector import for_passages, is_prepared, open_embedder
from relight.assistant.encoder import INPUT, OUTPUT_LAYERS, graph, table
from relight.assistant.ngram import Ngram
from relight.assistant.safetensors import read_tensors
from relight.config.assistant import DetectorKind
from relight.errors import WeightsError
from tests.assistant.toy import Words
from tests.assistant.weights import PIECES, layers, publish, tensors

if TYPE_CHECKING:
    from relight.assistant.embedding import Embedder

TEXTS = ["what cake have you?", "open on sunday", "the tidemark music"]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return publish(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def prepared(published: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of weights, with both detectors' files."""
    folder = tmp_path_factory.mktemp("weights")
    for module in (minilm, static):
        module.prepare(*published, embedding.home(folder) / module.NAME, lambda *_: None)
    return folder


def numbers(text: str) -> list[int]:
    plain = text.replace("?", " ?").replace("mark", " ##mark").split()
    return [2, *(PIECES.index(piece) for piece in plain), 3]


def test_exact_graph_is_the_transformer_as_it_is_defined() -> None:
    import numpy as np

    held = tensors()
    pieces, places = table(held)
    session = minilm.session(graph(held, exact=True))
    for text in TEXTS:
        given = pieces[numbers(text)] + places[: len(numbers(text))]
        (found,) = session.run(None, {INPUT: given[None]})
        expected = np.concatenate([layers(held, numbers(text))[layer] for layer in OUTPUT_LAYERS])
        np.testing.assert_allclose(found[0], expected, atol=2e-5)


def test_prepared_model_is_close_to_the_exact_one(prepared: Path) -> None:
    import numpy as np

    embedder = open_embedder(DetectorKind.MINILM, prepared)
    held = tensors()
    for text, vector in zip(TEXTS, embedder.embed(TEXTS), strict=True):
        parts = [means / np.linalg.norm(means) for means in (layers(held, numbers(text))[layer] for layer in OUTPUT_LAYERS)]
        assert vector @ np.concatenate(parts) / 2 > 0.97
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_vectors_for_passages_are_the_last_layer_alone(prepared: Path) -> None:
    import numpy as np

    whole = open_embedder(DetectorKind.MINILM, prepared)
    passages = for_passages(whole)
    assert passages.name != whole.name
    np.testing.assert_allclose(passages.embed(TEXTS), whole.embed(TEXTS)[:, -384:] * 2, atol=1e-5)
    assert for_passages(ngram := Ngram()) is ngram


def test_runtime_of_the_vectors_tells_nobody_and_leaves_nothing_in_the_users_home(prepared: Path, tmp_path: Path) -> None:
    code = f"from relight.assistant.detector import *; open_embedder(DetectorKind.MINILM, {str(prepared)!r}).embed(['hello'])"
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
    assert list(tmp_path.rglob("*")) == []


def test_one_text_has_the_same_vector_in_any_company(prepared: Path) -> None:
    import numpy as np

    for kind in DetectorKind:
        embedder = open_embedder(kind, prepared)
        np.testing.assert_array_equal(embedder.embed(TEXTS)[1], embedder.embed(TEXTS[1:2])[0])
        assert embedder.embed([]).shape[0] == 0


def test_static_vectors_are_means_that_know_no_order(prepared: Path) -> None:
    import numpy as np

    embedder = open_embedder(DetectorKind.STATIC, prepared)
    one, other, empty = embedder.embed(["cake and music", "music and cake", ""])
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert not empty.any()


def test_very_long_text_is_read_at_both_ends(prepared: Path) -> None:
    import numpy as np

    embedder = open_embedder(DetectorKind.MINILM, prepared)
    middle = [f"what cake {'and ' * 2000}{word} {'the ' * 2000} on sunday" for word in ("tide", "music")]
    ends = [f"{word} {'and ' * 5000} on sunday" for word in ("tide", "music")]
    same, also, one, other = embedder.embed([*middle, *ends])
    np.testing.assert_array_equal(same, also)
    assert not np.allclose(one, other)
    assert len(minilm.framed(list(range(10, 500)), 2, 3)) == 98


def test_files_that_are_not_there_say_what_to_run(tmp_path: Path) -> None:
    for kind in (DetectorKind.MINILM, DetectorKind.STATIC):
        assert not is_prepared(kind, tmp_path)
        with pytest.raises(WeightsError, match=f"detector {kind} is not prepared at .*; run: relight modes prepare"):
            open_embedder(kind, tmp_path)
    assert is_prepared(DetectorKind.NGRAM, tmp_path)


@pytest.mark.parametrize("name", ["encoder.onnx", "pieces.npy", "places.npy", "vocab.txt"])
def test_prepared_file_that_is_damaged_says_what_to_run(prepared: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "minilm"
    shutil.copytree(embedding.home(prepared) / minilm.NAME, folder)
    whole = (folder / name).read_bytes()
    for content in (b"", whole[: len(whole) // 2]):
        (folder / name).write_bytes(content)
        with pytest.raises(WeightsError, match=r"detector minilm is not prepared at .*; run: relight modes prepare"):
            minilm.MiniLM(folder)


def test_library_that_is_not_installed_says_what_to_install() -> None:
    with pytest.raises(WeightsError, match=r'no_such_library is not installed; run: pip install "relight\[assistant\]"'):
        embedding.need("numpy", "no_such_library")


@pytest.mark.parametrize("content", [b"", b"\x00" * 64, (10**9).to_bytes(8, "little"), b"\x02" + bytes(7) + b"[]"])
def test_damaged_weights_are_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    with pytest.raises(WeightsError, match="is no safetensors file that can be read"):
        read_tensors(file)


def test_failed_preparation_leaves_nothing(published: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        minilm.prepare(published[0], tmp_path / "no.txt", tmp_path / "here" / "minilm", lambda *_: None)
    assert list((tmp_path / "here").iterdir()) == []


def test_letters_are_the_same_in_every_process() -> None:
    code = "from relight.assistant.ngram import Ngram; print(Ngram().embed(['what cake']).nonzero()[1].tolist())"
    printed = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in range(2)}
    assert printed == {f"{Ngram().embed(['what cake']).nonzero()[1].tolist()}\n"}


def test_letters_see_through_a_slip() -> None:
    near, far = Ngram().embed(["the newsleter", "a concert"]) @ Ngram().embed(["the newsletter"])[0]
    assert near > 0.7
    assert far < 0.2


def kept(folder: Path) -> list[Path]:
    return sorted((folder / "vectors").glob("*"))


def test_damaged_and_foreign_vectors_are_made_anew(tmp_path: Path) -> None:
    import numpy as np

    first: Embedder = Words("a b")
    made = embedding.embed_once(first, ["a", "b"], tmp_path)
    (file,) = kept(tmp_path)
    for content in (b"", b"nonsense", file.read_bytes()[:-3]):
        file.write_bytes(content)
        np.testing.assert_array_equal(embedding.embed_once(Words("a b"), ["a", "b"], tmp_path), made)
    embedding.embed_once(Words("a b", name="other"), ["a", "b"], tmp_path)
    assert len(kept(tmp_path)) == 2


def test_folder_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    asked = Words("a b")
    for _ in range(2):
        embedding.embed_once(asked, ["a", "b"], tmp_path / "file")
    assert asked.asked == 4


def test_old_vectors_do_not_pile_up(tmp_path: Path) -> None:
    for number in range(30):
        embedding.embed_once(Words("a"), [f"text {number}"], tmp_path)
    assert len(kept(tmp_path)) == 24


def test_seam_is_imported_without_any_library() -> None:
    code = """
import relight.assistant.detector, relight.assistant.classifier, relight.assistant.modes, relight.assistant.deciding, sys
print(*sys.modules)
"""
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "relight.assistant.minilm" in loaded
    assert not {"numpy", "onnxruntime"} & set(loaded)
