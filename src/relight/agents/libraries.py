"""Libraries: text to paste, with the key from the environment and the time that a wake takes.

Each snippet is a whole program that asks one question; `{}` is written `{{}}` where a snippet needs a brace.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from relight.agents.profile import NO_KEY, PATIENCE_MS, Asked, Profile
from relight.agents.wiring import Scope, Wiring

PATIENCE_S = PATIENCE_MS // 1000

OPENAI_PYTHON = """\
import os

from openai import OpenAI

# One retry: a request that waits for the model to wake is not lost, and asked again it would wait behind itself.
client = OpenAI(base_url={v1}, api_key={python_key}, timeout={seconds}, max_retries=1)
stream = client.chat.completions.create(
    model={model},
    messages=[{{"role": "user", "content": "Say hello."}}],
    max_tokens={output},
    stream=True,
)
for chunk in stream:
    for choice in chunk.choices:
        print(choice.delta.content or "", end="", flush=True)
"""

OPENAI_NODE = """\
import OpenAI from "openai";

// One retry: a request that waits for the model to wake is not lost, and asked again it would wait behind itself.
const client = new OpenAI({{ baseURL: {v1}, apiKey: {node_key}, timeout: {milliseconds}, maxRetries: 1 }});
const stream = await client.chat.completions.create({{
  model: {model},
  messages: [{{ role: "user", content: "Say hello." }}],
  max_tokens: {output},
  stream: true,
}});
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
"""

ANTHROPIC_PYTHON = """\
import os

from anthropic import Anthropic

# No /v1 here: the library adds it.
client = Anthropic(base_url={url}, auth_token={python_key}, timeout={seconds}, max_retries=1)
with client.messages.stream(
    model={model},
    messages=[{{"role": "user", "content": "Say hello."}}],
    max_tokens={output},
) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)
"""

OLLAMA_PYTHON = """\
import os

from ollama import Client

# No /v1 here, and no /api: the library adds it.
client = Client(host={url}, headers={{"Authorization": "Bearer " + {python_key}}}, timeout={seconds})
for part in client.chat(
    model={model},
    messages=[{{"role": "user", "content": "Say hello."}}],
    options={{"num_predict": {output}}},
    stream=True,
):
    print(part.message.content or "", end="", flush=True)
"""

LANGCHAIN = """\
import os

from langchain_openai import ChatOpenAI

model = ChatOpenAI(
    model={model},
    base_url={v1},
    api_key={python_key},
    timeout={seconds},
    max_retries=1,
    max_tokens={output},
    stream_usage=True,  # with an address of its own it does not ask for the token counts by itself
)
for part in model.stream("Say hello."):
    print(part.content, end="", flush=True)
"""

LLAMAINDEX = """\
import os

from llama_index.llms.openai_like import OpenAILike

llm = OpenAILike(
    model={model},
    api_base={v1},
    api_key={python_key},
    context_window={context},
    max_tokens={output},
    is_chat_model=True,
    is_function_calling_model={has_tools},
    timeout={seconds},
    max_retries=1,
)
for part in llm.stream_complete("Say hello."):
    print(part.delta, end="", flush=True)
"""

AI_SDK = """\
import {{ createOpenAICompatible }} from "@ai-sdk/openai-compatible";
import {{ streamText }} from "ai";

const relight = createOpenAICompatible({{ name: "relight", baseURL: {v1}, apiKey: {node_key}, includeUsage: true }});
const {{ textStream }} = streamText({{
  model: relight({model}),
  prompt: "Say hello.",
  maxOutputTokens: {output},
  maxRetries: 1,
}});
for await (const text of textStream) process.stdout.write(text);
"""


def _fill(asked: Asked, text: str) -> str:
    endpoint = asked.endpoint
    variable = endpoint.key_variable
    return text.format(
        url=json.dumps(asked.url),
        v1=json.dumps(asked.v1),
        model=json.dumps(endpoint.model),
        python_key=f"os.environ[{json.dumps(variable)}]" if variable else json.dumps(NO_KEY),
        node_key=f"process.env.{variable}" if variable else json.dumps(NO_KEY),
        output=asked.output,
        context=endpoint.context or 4 * asked.output,
        has_tools=endpoint.has_tools,
        seconds=PATIENCE_S,
        milliseconds=PATIENCE_MS,
    ).removeprefix("import os\n\n" if not variable else "\0")


@dataclass(frozen=True, slots=True)
class _Library:
    slug: str
    name: str
    tested: str
    text: str
    note: str
    dialect: str = "chat"

    def lay(self, asked: Asked) -> Wiring:
        return Wiring(snippet=_fill(asked, self.text), notes=(self.note,))

    def profile(self) -> Profile:
        return Profile(
            slug=self.slug,
            name=self.name,
            dialect=self.dialect,
            tested=(self.tested,),
            version_command=(),
            scopes=(Scope.USER, Scope.PROJECT),
            context_need=0,
            slim_need=None,
            lay=self.lay,
            needs_tools=False,
        )


_NODE = "streamed, as Node gives up on an answer that is silent for five minutes"

_ALL = (
    _Library("langchain", "LangChain", "1.7", LANGCHAIN, "pip install langchain-openai"),
    _Library("llamaindex", "LlamaIndex", "0.8", LLAMAINDEX, "pip install llama-index-llms-openai-like"),
    _Library("ai-sdk", "Vercel AI SDK", "7.0", AI_SDK, f"npm install ai @ai-sdk/openai-compatible; {_NODE}"),
    _Library("openai-python", "OpenAI's library for Python", "3.54", OPENAI_PYTHON, "pip install openai"),
    _Library("openai-node", "OpenAI's library for JavaScript", "7.57", OPENAI_NODE, f"npm install openai; {_NODE}"),
    _Library("anthropic-python", "Anthropic's library for Python", "2.12", ANTHROPIC_PYTHON, "pip install anthropic", "messages"),
    _Library("ollama-python", "Ollama's library for Python", "0.6", OLLAMA_PYTHON, "pip install ollama", "ollama"),
)

LIBRARIES = tuple(library.profile() for library in _ALL)
