"""Small requests beside a long prompt, on the real engine: they are answered before it has been read."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from relight.lifecycle.turns import SMALL_BYTES
from tests.serve.process import PATIENCE_S, serve, weights_of

pytestmark = pytest.mark.real

EXAMPLE = Path(__file__).parents[2] / "examples" / "portfolio" / "relight.toml"


def test_title_is_answered_before_a_long_prompt_is_read() -> None:
    weights_of(EXAMPLE)
    order: list[str] = []
    with serve(EXAMPLE, "--port", "0") as served:
        assert served.ask("hello", model="smol", max_tokens=1)[0] == 200
        prompt = "the quick brown fox jumps over the lazy dog, " * 200  # some 2,000 tokens, and more than what counts as small
        assert len(prompt) > SMALL_BYTES
        body = {"model": "smol", "messages": [{"role": "user", "content": prompt}], "stream": True, "max_tokens": 2}
        reading = threading.Event()

        def long_one() -> None:
            with served.connection() as connection:
                connection.request("POST", "/v1/chat/completions", json.dumps(body))
                answer = connection.getresponse()
                reading.set()
                for line in answer:
                    if b'"content":"' in line:
                        order.append("long")
                        answer.close()
                        return

        client = threading.Thread(target=long_one)
        client.start()
        assert reading.wait(PATIENCE_S)
        served.until(lambda: served.get("/status")["models"]["smol"]["running"] == 1)
        assert served.ask("a title, please", model="smol", max_tokens=2)[0] == 200
        order.append("title")
        client.join(100)
    assert order == ["title", "long"]
