"""The corpus: what models write, with the calls that it is, or none. Written for this; quoted from nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Made = tuple[tuple[str, dict[str, Any]], ...]


def tool(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": "", "parameters": parameters}}


TOOLS = [
    tool(
        "look",
        {
            "type": "object",
            "properties": {
                "q": {"type": "string"},
                "n": {"type": "integer"},
                "deep": {"type": "boolean"},
                "within": {"type": ["number", "null"]},
                "order": {"enum": ["newest", "oldest"]},
            },
            "required": ["q"],
        },
    ),
    tool("now", {"type": "object", "properties": {}}),
    tool(
        "write_file",
        {
            "type": "object",
            "properties": {"path": {"type": "string"}, "content": {"type": "string"}},
            "required": ["path", "content"],
            "additionalProperties": False,
        },
    ),
    tool("bash", {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}),
    tool(
        "edit",
        {
            "type": "object",
            "properties": {
                "file_path": {"type": "string"},
                "edits": {"type": "array", "items": {"$ref": "#/$defs/edit"}},
            },
            "required": ["file_path", "edits"],
            "$defs": {
                "edit": {
                    "type": "object",
                    "properties": {"old": {"type": "string"}, "new": {"type": "string"}},
                    "required": ["old", "new"],
                }
            },
        },
    ),
    tool(
        "read_many",
        {"type": "object", "properties": {"paths": {"type": "array", "items": {"type": "string"}}}, "required": ["paths"]},
    ),
    tool("strange", {"type": "object", "properties": {"x": {"$ref": "https://example.com/schema.json"}}}),
]


@dataclass(frozen=True, slots=True)
class Case:
    """An answer's text; the calls in it; and what stays said, `None`: all of it where there are no calls, else nothing."""

    name: str
    text: str
    calls: Made = ()
    said: str | None = None
    is_cut: bool = False

    @property
    def rest(self) -> str:
        return self.said if self.said is not None else "" if self.calls else self.text


J = '{"name": "look", "arguments": {"q": "zebra"}}'
ZEBRA: Made = (("look", {"q": "zebra"}),)
NOW: Made = (("now", {}),)
XML = "<function=look>\n<parameter=q>\nzebra\n</parameter>\n</function>"
PY = 'print("hi")\nif a < b:\n    x = {"k": [1]}\n'

MARKED = [
    Case("hermes", f"<tool_call>\n{J}\n</tool_call>", ZEBRA),
    Case("hermes in one line", f"<tool_call>{J}</tool_call>", ZEBRA),
    Case("hermes behind words", f"Let me look.\n<tool_call>\n{J}\n</tool_call>", ZEBRA, "Let me look.\n"),
    Case("hermes right behind a sentence", f"Let me look.<tool_call>\n{J}\n</tool_call>", ZEBRA, "Let me look."),
    Case("hermes behind blanks", f"\n\n  <tool_call>{J}</tool_call>", ZEBRA),
    Case(
        "hermes twice",
        f'<tool_call>\n{J}\n</tool_call>\n<tool_call>\n{{"name": "now", "arguments": {{}}}}\n</tool_call>',
        ZEBRA + NOW,
    ),
    Case("hermes, words between", f"<tool_call>{J}</tool_call>\nand\n<tool_call>{J}</tool_call>", ZEBRA + ZEBRA, "\nand\n"),
    Case("hermes, words behind", f"<tool_call>{J}</tool_call>\nI wait.", ZEBRA, "\nI wait."),
    Case("hermes, blanks behind", f"<tool_call>{J}</tool_call>\n\n \n", ZEBRA),
    Case("hermes without its end", f"<tool_call>\n{J}", ZEBRA),
    Case("hermes, the next one ends it", f"<tool_call>\n{J}\n<tool_call>\n{J}\n</tool_call>", ZEBRA + ZEBRA),
    Case("hermes, a list", f"<tool_call>[{J}, {J}]</tool_call>", ZEBRA + ZEBRA),
    Case("hermes, objects in a row", f"<tool_call>\n{J}\n{J}\n</tool_call>", ZEBRA + ZEBRA),
    Case("hermes with parameters", '<tool_call>{"name": "look", "parameters": {"q": "zebra"}}</tool_call>', ZEBRA),
    Case("hermes, arguments first", '<tool_call>{"arguments": {"q": "zebra"}, "name": "look"}</tool_call>', ZEBRA),
    Case("hermes, arguments as text", r'<tool_call>{"name": "look", "arguments": "{\"q\": \"zebra\"}"}</tool_call>', ZEBRA),
    Case(
        "hermes, arguments as text twice",
        r'<tool_call>{"name": "look", "arguments": "\"{\\\"q\\\": \\\"zebra\\\"}\""}</tool_call>',
        ZEBRA,
    ),
    Case("hermes without arguments", '<tool_call>{"name": "now"}</tool_call>', NOW),
    Case("hermes, arguments null", '<tool_call>{"name": "now", "arguments": null}</tool_call>', NOW),
    Case("hermes, arguments empty text", '<tool_call>{"name": "now", "arguments": ""}</tool_call>', NOW),
    Case("hermes, no wrapper", '<tool_call>{"name": "look", "q": "zebra"}</tool_call>', ZEBRA),
    Case(
        "hermes, OpenAI's wrapper",
        '<tool_call>{"type": "function", "function": {"name": "look", "arguments": {"q": "zebra"}}}</tool_call>',
        ZEBRA,
    ),
    Case("hermes, the name as function", '<tool_call>{"function": "look", "arguments": {"q": "zebra"}}</tool_call>', ZEBRA),
    Case("hermes with an id", '<tool_call>{"id": 7, "name": "look", "arguments": {"q": "zebra"}}</tool_call>', ZEBRA),
    Case("hermes, a bracket short", '<tool_call>\n{"name": "look", "arguments": {"q": "zebra"}\n</tool_call>', ZEBRA),
    Case("hermes, a bracket too many", f"<tool_call>\n{J}}}\n</tool_call>", ZEBRA),
    Case("hermes, a comma too many", '<tool_call>{"name": "look", "arguments": {"q": "zebra",}}</tool_call>', ZEBRA),
    Case(
        "hermes in single quotes",
        "<tool_call>{'name': 'look', 'arguments': {'q': 'zebra', 'deep': True}}</tool_call>",
        (("look", {"q": "zebra", "deep": True}),),
    ),
    Case("hermes, keys without quotes", '<tool_call>{name: "look", arguments: {q: "zebra"}}</tool_call>', ZEBRA),
    Case(
        "hermes, a line break in a text",
        '<tool_call>{"name": "write_file", "arguments": {"path": "a", "content": "b\nc"}}</tool_call>',
        (("write_file", {"path": "a", "content": "b\nc"}),),
    ),
    Case(
        "hermes, its own end in a text",
        '<tool_call>{"name": "write_file", "arguments": {"path": "a", "content": "</tool_call>"}}</tool_call>',
        (("write_file", {"path": "a", "content": "</tool_call>"}),),
    ),
    Case(
        "hermes, code in a text",
        '<tool_call>{"name": "write_file", "arguments": '
        '{"path": "a.py", "content": "if x:\\n    d = {\\"a\\": [1]}\\n"}}</tool_call>',
        (("write_file", {"path": "a.py", "content": 'if x:\n    d = {"a": [1]}\n'}),),
    ),
    Case(
        "hermes with characters of many bytes",
        '<tool_call>{"name": "look", "arguments": {"q": "Grüße 世界 👩‍🚀"}}</tool_call>',
        (("look", {"q": "Grüße 世界 👩‍🚀"}),),
    ),
    Case(
        "hermes with escapes",
        r'<tool_call>{"name": "look", "arguments": {"q": "\u00e9\\\"\n"}}</tool_call>',
        (("look", {"q": 'é\\"\n'}),),
    ),
    Case("hermes, then the end of the turn", f"<tool_call>{J}</tool_call><|im_end|>", ZEBRA),
    Case("hermes, ended twice", f"<tool_call>{J}</tool_call>\n</tool_call>\nI wait.", ZEBRA, "\nI wait."),
    Case("hermes with a fence inside", f"<tool_call>\n```json\n{J}\n```\n</tool_call>", ZEBRA),
    Case("hermes behind a tag of HTML", f"<b>\n<tool_call>{J}</tool_call>", ZEBRA, "<b>\n"),
    Case("coder, outer beginning left out", f"{XML}\n</tool_call>", ZEBRA),
    Case("plural tags", f"<tool_calls>[{J}]</tool_calls>", ZEBRA),
    Case("tools tags", f"<tools>\n{J}\n</tools>", ZEBRA),
    Case("phi's tags", f"<|tool_call|>[{J}]<|/tool_call|>", ZEBRA),
    Case("function_call tags", f"<function_call>\n{J}\n</function_call>", ZEBRA),
    Case("functioncall tags", f"<functioncall> {J} </functioncall>", ZEBRA),
    Case("functioncall without an end", f"<functioncall> {J}", ZEBRA),
    Case("coder", f"<tool_call>\n{XML}\n</tool_call>", ZEBRA),
    Case("coder without the outer tag", XML, ZEBRA),
    Case("coder behind words", f"I look.\n\n<tool_call>\n{XML}\n</tool_call>", ZEBRA, "I look.\n\n"),
    Case("coder twice", f"<tool_call>\n{XML}\n</tool_call>\n<tool_call>\n{XML}\n</tool_call>", ZEBRA + ZEBRA),
    Case(
        "coder, types by the schema",
        "<function=look><parameter=q>5</parameter><parameter=n>5</parameter><parameter=deep>true</parameter>"
        "<parameter=within>1.5</parameter></function>",
        (("look", {"q": "5", "n": 5, "deep": True, "within": 1.5}),),
    ),
    Case(
        "coder, a list by the schema",
        '<function=edit><parameter=file_path>a</parameter><parameter=edits>[{"old": "x", "new": "y"}]</parameter></function>',
        (("edit", {"file_path": "a", "edits": [{"old": "x", "new": "y"}]}),),
    ),
    Case(
        "coder with code",
        "<tool_call>\n<function=write_file>\n<parameter=path>\na.py\n</parameter>\n<parameter=content>\n"
        f"{PY}\n</parameter>\n</function>\n</tool_call>",
        (("write_file", {"path": "a.py", "content": PY}),),
    ),
    Case("coder without parameters", "<tool_call>\n<function=now>\n</function>\n</tool_call>", NOW),
    Case(
        "coder, ends of parameters left out",
        "<function=write_file>\n<parameter=path>\na\n<parameter=content>\nb\n</function>",
        (("write_file", {"path": "a\n"[:-1], "content": "b"}),),
    ),
    Case("coder, outer end left out", f"<tool_call>\n{XML}", ZEBRA),
    Case(
        "coder, function's end left out", "<tool_call>\n<function=look>\n<parameter=q>\nzebra\n</parameter>\n</tool_call>", ZEBRA
    ),
    Case("llama's function tag", '<function=look>{"q": "zebra"}</function>', ZEBRA),
    Case(
        "keys and values",
        "<tool_call>look\n<arg_key>q</arg_key>\n<arg_value>zebra</arg_value>\n<arg_key>n</arg_key>\n<arg_value>3</arg_value>\n</tool_call>",
        (("look", {"q": "zebra", "n": 3}),),
    ),
    Case(
        "invoke",
        '<function_calls>\n<invoke name="look">\n<parameter name="q">zebra</parameter>\n</invoke>\n</function_calls>',
        ZEBRA,
    ),
    Case("invoke alone", '<invoke name="look"><parameter name="q">zebra</parameter></invoke>', ZEBRA),
    Case("python tag, JSON", '<|python_tag|>{"type": "function", "name": "look", "parameters": {"q": "zebra"}}', ZEBRA),
    Case("python tag, JSON, end of message", '<|python_tag|>{"name": "look", "parameters": {"q": "zebra"}}<|eom_id|>', ZEBRA),
    Case("python tag, JSON twice", f"<|python_tag|>{J}; {J}", ZEBRA + ZEBRA),
    Case("python tag, call", '<|python_tag|>look.call(q="zebra", n=3)', (("look", {"q": "zebra", "n": 3}),)),
    Case("python tag, list of calls", '<|python_tag|>[look(q="zebra"), now()]', ZEBRA + NOW),
    Case("mistral, list", f"[TOOL_CALLS] [{J}]", ZEBRA),
    Case("mistral, list, end", f"[TOOL_CALLS][{J}, {J}]</s>", ZEBRA + ZEBRA),
    Case("mistral, args", '[TOOL_CALLS]look[ARGS]{"q": "zebra"}', ZEBRA),
    Case("mistral, args twice", '[TOOL_CALLS]look[ARGS]{"q": "zebra"}[TOOL_CALLS]now[ARGS]{}', ZEBRA + NOW),
    Case("mistral, args with an id", '[TOOL_CALLS]look[CALL_ID]abc123XYZ[ARGS]{"q": "zebra"}', ZEBRA),
    Case("mistral, name and object", '[TOOL_CALLS]look{"q": "zebra"}', ZEBRA),
    Case(
        "deepseek, fenced",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>look\n```json\n"
        '{"q": "zebra"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
        ZEBRA,
    ),
    Case(
        "deepseek, plain",
        '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>look<｜tool▁sep｜>{"q": "zebra"}<｜tool▁call▁end｜>'
        "<｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        ZEBRA + NOW,
    ),
    Case("deepseek, inner token alone", '<｜tool▁call▁begin｜>look<｜tool▁sep｜>{"q": "zebra"}<｜tool▁call▁end｜>', ZEBRA),
    Case(
        "kimi",
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.look:0"
        '<|tool_call_argument_begin|>{"q": "zebra"}<|tool_call_end|><|tool_calls_section_end|>',
        ZEBRA,
    ),
]

BARE = [
    Case("object", J, ZEBRA),
    Case("object over lines", '{\n  "name": "look",\n  "arguments": {\n    "q": "zebra"\n  }\n}', ZEBRA),
    Case("object with parameters", '{"name": "look", "parameters": {"q": "zebra"}}', ZEBRA),
    Case("llama's object", '{"type": "function", "name": "look", "parameters": {"q": "zebra"}}', ZEBRA),
    Case(
        "OpenAI's object",
        '{"tool_calls": [{"id": "a", "type": "function", "function": {"name": "look", "arguments": "{\\"q\\": \\"zebra\\"}"}}]}',
        ZEBRA,
    ),
    Case("function_call object", '{"function_call": {"name": "look", "arguments": {"q": "zebra"}}}', ZEBRA),
    Case("tool and tool_input", '{"tool": "look", "tool_input": {"q": "zebra"}}', ZEBRA),
    Case("list", f"[{J}]", ZEBRA),
    Case("list over lines", f"[\n  {J},\n  {J}\n]", ZEBRA + ZEBRA),
    Case("objects in lines", f"{J}\n{J}", ZEBRA + ZEBRA),
    Case("objects with a semicolon", f"{J}; {J}", ZEBRA + ZEBRA),
    Case("blanks around", f"\n  {J}  \n", ZEBRA),
    Case("bracket too many", f"{J}}}", ZEBRA),
    Case("bracket short", '{"name": "look", "arguments": {"q": "zebra"}', ZEBRA),
    Case("end of turn behind", f"{J}<|eot_id|>", ZEBRA),
    Case("end of a tag behind", f"{J}\n</tool_call>", ZEBRA),
    Case("flat", '{"name": "look", "q": "zebra"}', ZEBRA),
    Case("behind words", f"I will look now.\n{J}", ZEBRA, "I will look now.\n"),
    Case("behind a paragraph", f"I will look now.\n\n{J}\n", ZEBRA, "I will look now.\n\n"),
    Case("Python list", '[look(q="zebra")]', ZEBRA),
    Case("Python list of two", "[look(q='zebra'), now()]", ZEBRA + NOW),
    Case("fence", f"```json\n{J}\n```", ZEBRA),
    Case("fence without a label", f"```\n{J}\n```", ZEBRA),
    Case("fence behind words", f"I will look now.\n\n```json\n{J}\n```\n", ZEBRA, "I will look now.\n\n"),
    Case("fence not closed", f"```json\n{J}\n", ZEBRA),
    Case("fence with two", f"```json\n{J}\n{J}\n```", ZEBRA + ZEBRA),
    Case("two fences", f"```json\n{J}\n```\n\n```json\n{J}\n```", ZEBRA + ZEBRA),
    Case("fence called tool_call", f"```tool_call\n{J}\n```", ZEBRA),
    Case("fence with Hermes' tags", f"```xml\n<tool_call>\n{J}\n</tool_call>\n```", ZEBRA),
    Case("fence with Hermes' tags twice", f"```\n<tool_call>{J}</tool_call><tool_call>{J}</tool_call>\n```", ZEBRA + ZEBRA),
    Case("fence called tool_code", '```tool_code\nprint(look(q="zebra"))\n```', ZEBRA),
    Case("fence called tool_code, without print", '```tool_code\nlook(q="zebra")\nnow()\n```', ZEBRA + NOW),
    Case("characters of many bytes", '{"name": "look", "arguments": {"q": "日本 ß 🔥"}}', (("look", {"q": "日本 ß 🔥"}),)),
    Case(
        "an earlier example does not count",
        f"For example, cats.\n\nNow I look.\n\n{J}",
        ZEBRA,
        "For example, cats.\n\nNow I look.\n\n",
    ),
]

THOUGHTS = [
    Case("Hermes behind thoughts", f"<think>\nhm\n</think>\n\n<tool_call>{J}</tool_call>", ZEBRA, "<think>\nhm\n</think>"),
    Case("object behind thoughts", f"<think>hm</think>\n{J}", ZEBRA, "<think>hm</think>"),
    Case("example in thoughts, object behind", f"<think>for example</think>{J}", ZEBRA, "<think>for example</think>"),
    Case(
        "Hermes at the end of thoughts",
        f"<think>I look.\n<tool_call>{J}</tool_call>\n</think>",
        ZEBRA,
        f"<think>I look.\n<tool_call>{J}</tool_call>\n</think>",
    ),
    Case(
        "Hermes in thoughts that do not end",
        f"<think>I look.\n<tool_call>{J}</tool_call>",
        ZEBRA,
        f"<think>I look.\n<tool_call>{J}</tool_call>",
    ),
    Case(
        "Hermes without its end in thoughts",
        f"<think>I look.\n<tool_call>{J}</think>",
        ZEBRA,
        f"<think>I look.\n<tool_call>{J}</think>",
    ),
    Case(
        "Hermes in thoughts, and again behind",
        f"<think><tool_call>{J}</tool_call></think><tool_call>{J}</tool_call>",
        ZEBRA,
        f"<think><tool_call>{J}</tool_call></think>",
    ),
    Case("Hermes in thoughts, words behind", f"<think><tool_call>{J}</tool_call></think>No need."),
    Case("Hermes in the middle of thoughts", f"<think><tool_call>{J}</tool_call> or not?</think>"),
    Case("object in thoughts", f"<think>\n{J}\n</think>"),
    Case("thoughts alone", "<think>\nlet me see { [ ` <\n</think>\n"),
    Case("thoughts, then words", "<think>a</think>\n\nb < c"),
]

REPAIRED = [
    Case("number as text", '{"name": "look", "arguments": {"q": "zebra", "n": "5"}}', (("look", {"q": "zebra", "n": 5}),)),
    Case("text as number", '{"name": "look", "arguments": {"q": 5}}', (("look", {"q": "5"}),)),
    Case("truth as text", '{"name": "look", "arguments": {"q": "z", "deep": "True"}}', (("look", {"q": "z", "deep": True}),)),
    Case(
        "nothing as text, where it may be",
        '{"name": "look", "arguments": {"q": "z", "within": "null"}}',
        (("look", {"q": "z", "within": None}),),
    ),
    Case("nothing where it need not be said", '{"name": "look", "arguments": {"q": "z", "n": null}}', (("look", {"q": "z"}),)),
    Case(
        "case of a value",
        '{"name": "look", "arguments": {"q": "z", "order": "Newest"}}',
        (("look", {"q": "z", "order": "newest"}),),
    ),
    Case(
        "one for a list of one", '{"name": "read_many", "arguments": {"paths": "a.txt"}}', (("read_many", {"paths": ["a.txt"]}),)
    ),
    Case(
        "list as text",
        '{"name": "read_many", "arguments": {"paths": "[\\"a\\", \\"b\\"]"}}',
        (("read_many", {"paths": ["a", "b"]}),),
    ),
    Case(
        "object as text, behind a reference",
        '{"name": "edit", "arguments": {"file_path": "a", "edits": ["{\\"old\\": \\"x\\", \\"new\\": \\"y\\"}"]}}',
        (("edit", {"file_path": "a", "edits": [{"old": "x", "new": "y"}]}),),
    ),
    Case("the only argument without its name", '{"name": "bash", "arguments": "ls -l"}', (("bash", {"command": "ls -l"}),)),
    Case(
        "case of a key",
        '{"name": "edit", "arguments": {"filePath": "a", "edits": []}}',
        (("edit", {"file_path": "a", "edits": []}),),
    ),
    Case("prefix of the name", '{"name": "functions.look", "arguments": {"q": "zebra"}}', ZEBRA),
    Case(
        "dashes of the name",
        '{"name": "write-file", "arguments": {"path": "a", "content": "b"}}',
        (("write_file", {"path": "a", "content": "b"}),),
    ),
    Case(
        "two faults at once",
        '{"name": "look", "arguments": {"q": 5, "n": "7", "deep": "false"}}',
        (("look", {"q": "5", "n": 7, "deep": False}),),
    ),
    Case(
        "quotes in a text",
        '<tool_call>{"name": "look", "arguments": {"q": "say "hi" now"}}</tool_call>',
        (("look", {"q": 'say "hi" now'}),),
    ),
]

NEAR = [
    Case("unknown tool, Hermes", '<tool_call>{"name": "rm", "arguments": {}}</tool_call>'),
    Case("unknown tool, object", '{"name": "rm", "arguments": {}}'),
    Case("unknown tool, coder", "<function=rm>\n<parameter=x>\n1\n</parameter>\n</function>"),
    Case("unknown tool among known ones", f'<tool_call>[{J}, {{"name": "rm", "arguments": {{}}}}]</tool_call>'),
    Case("argument missing", '<tool_call>{"name": "look", "arguments": {}}</tool_call>'),
    Case("argument of another type", '{"name": "look", "arguments": {"q": {"a": 1}}}'),
    Case("argument that is not allowed", '{"name": "write_file", "arguments": {"path": "a", "content": "b", "mode": "w"}}'),
    Case("value that is not allowed", '{"name": "look", "arguments": {"q": "z", "order": "best"}}'),
    Case("number that is none", '{"name": "look", "arguments": {"q": "z", "n": "five"}}'),
    Case("schema that cannot be read", '{"name": "strange", "arguments": {"x": 1}}'),
    Case("text that does not end", '<tool_call>{"name": "bash", "arguments": {"command": "rm -rf /'),
    Case("text that does not end, object", '{"name": "bash", "arguments": {"command": "rm -rf /'),
    Case("number that may not be whole", '{"name": "look", "arguments": {"q": "z", "n": 1'),
    Case("cut off, brackets short", '{"name": "bash", "arguments": {"command": "rm -rf /"', is_cut=True),
    Case("cut off, whole so far, in a fence", '```json\n{"name": "bash", "arguments": {"command": "ls"}', is_cut=True),
    Case("cut off, coder", "<function=bash>\n<parameter=command>\nrm -rf /", is_cut=True),
    Case("coder that does not end", "<function=bash>\n<parameter=command>\nrm -rf /"),
    Case("quotes that may end a text", '{"name": "write_file", "arguments": {"path": "a", "content": "x = "1", y"}}'),
    Case("explained, in a line", f"Write <tool_call>{J}</tool_call> to call it."),
    Case("explained, in code", f"Write `<tool_call>{J}</tool_call>` to call it."),
    Case("explained, in a fence, words behind", f"Write this:\n\n```\n<tool_call>\n{J}\n</tool_call>\n```\n\nThen wait."),
    Case("explained, the tag alone", "The <tool_call> tag begins a call, </tool_call> ends it."),
    Case("explained, in JSON, words behind", f"The call is\n\n```json\n{J}\n```\n\nand then I wait."),
    Case("explained as an example", f"For example:\n\n```json\n{J}\n```"),
    Case("explained as what could be", f"You can call it like this:\n{J}"),
    Case("object, words behind", f"{J}\nThat is the call."),
    Case("object in the middle of a line", f"The call: {J}"),
    Case("other JSON", '{"answer": 42}'),
    Case("other JSON with a name", '{"name": "Ada", "arguments": "none"}'),
    Case("other JSON with a tool's name", '{"name": "look", "description": "finds things"}'),
    Case("other JSON in a fence", '```json\n{"name": "my-package", "version": "1.0.0"}\n```'),
    Case(
        "a tool described",
        '{"name": "look", "description": "finds", "parameters": {"type": "object", "properties": {"q": {"type": "string"}}}}',
    ),
    Case("a tool described, without a description", '{"name": "now", "parameters": {"type": "object", "properties": {}}}'),
    Case("name alone", '{"name": "now"}'),
    Case("list of texts", '["look", "now"]'),
    Case("list of objects", '[{"id": 1, "name": "Ada"}, {"id": 2, "name": "Bob"}]'),
    Case("task list", "[ ] one\n[x] two\n[look](https://example.com)\n[1] a note"),
    Case("Python list of a variable", "[look, now]"),
    Case("Python call", 'look(q="zebra")'),
    Case("Python call with a variable", "[look(q=x)]"),
    Case("Python call without names", '[look("zebra")]'),
    Case("Python that JSON has no words for", "[look(q=b'zebra')]"),
    Case("a call deep in lists", f"<tool_call>{'[' * 300}{J}{']' * 300}</tool_call>"),
    Case("JSON as deep as it may be", "[" * 3000),
    Case("Python in a fence", '```python\nlook(q="zebra")\n```'),
    Case("code with braces", "function f() {\n  return {name: 1}\n}\n"),
    Case("code in a fence", '```js\n{\n  "name": "look",\n  "arguments": {"q": "zebra"}\n}\n```'),
    Case("a fence that is not closed", "```python\nx = 1\n"),
    Case("HTML", "<table>\n<tr><td>a</td></tr>\n</table>\n<tools are here> <function f>"),
    Case("mathematics", "a < b, [1, 2], {x | x > 0}, `code`, 5 <= 6 <"),
    Case("tags without anything", "<tool_call></tool_call>"),
    Case("tag at the end", "see <tool_call>"),
    Case("half a tag", "see <tool_ca"),
    Case("words in tags", "<tool_call>look for zebras</tool_call>"),
    Case("mistral's mark in words", "Mistral writes [TOOL_CALLS] before its calls."),
    Case("python tag, unknown function", '<|python_tag|>os.system(x="rm")'),
    Case("python tag, code", "<|python_tag|>import os\nos.listdir()"),
    Case("words", "Grüße, 世界! Nothing to call 👩‍🚀."),
    Case("words over lines", "One.\n\nTwo.\n- three\n- four\n"),
    Case("blanks", "  \n "),
    Case("nothing", ""),
]

CASES = [*MARKED, *BARE, *THOUGHTS, *REPAIRED, *NEAR]
