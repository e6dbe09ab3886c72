"""Stars out what looks like a secret or a person in logged content. A courtesy, not a guarantee; how good is in bench/redaction.

No library does this well enough to earn its place (docs/dependencies.md): what each rule finds and leaves is measured on the
cases of tests/telemetry/redaction.jsonl. Rules stand in order, and each sees what those before it left.

Time stays linear in the text: every repetition is bounded, or runs over characters that no other start of the same rule lies in.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from typing import Any, Final

from relight.telemetry.numbers import ALONE, NUMBERS, SOME_DIGITS
from relight.telemetry.rules import Rule

_MAX_DEPTH: Final = 100
_SHORT: Final = 64

# --- keys ---------------------------------------------------------------------------------------------------------

# Formats as their makers print them. A key has digits; `sk-learn-compatible` has none, `hf_hub_download_v2` has underscores.
_MIXED: Final = r"(?=[A-Za-z]*\d)[A-Za-z0-9]"
_FORMATS: Final = (
    r"sk-(?:proj|ant|or|svcacct|admin)-(?=[\w-]*\d)[\w-]{12,}",
    r"sk-(?=\w*\d)\w{16,}[\w-]*",
    r"[spr]k_(?:live|test|prod)_(?=\w*\d)\w{12,}",
    rf"(?:gsk|hf|gh[oprsu]|npm|r8|whsec|ntn|lin_api|shp(?:at|ss|ca|pa))_{_MIXED}{{16,}}",
    r"github_pat_(?=\w*\d)\w{16,}",
    r"(?:glpat|xapp|xox[abeoprs])-(?=[\w-]*\d)[\w-]{12,}",
    rf"(?:xai|pplx)-{_MIXED}{{16,}}",
    r"pypi-AgEI[\w-]{16,}",
    r"(?:dop_v1_|dapi)[0-9a-f]{32,64}",
    r"AKIA[A-Z0-9]{12,}|ASIA[A-Z0-9]{16}(?!\w)",
    r"AIza[\w-]{12,}",
    r"ya29\.[\w.-]{20,}",
    r"SG\.[\w-]{16,}\.[\w-]{16,}",
    r"\d{8,10}:AA[\w-]{30,}",
    r"AGE-SECRET-KEY-1[0-9A-Z]{20,}",
    r"rl_[\w-]{43}(?![\w-])",
)
# In small letters, one for each format above.
_BEGINNINGS: Final = (
    *("sk-", "k_live_", "k_test_", "k_prod_", "gsk_", "hf_", "gho_", "ghp_", "ghr_", "ghs_", "ghu_", "npm_", "r8_", "whsec_"),
    *("ntn_", "lin_api_", "shpat_", "shpss_", "shpca_", "shppa_", "github_pat_", "glpat-", "xapp-", "xox", "xai-", "pplx-"),
    *("pypi-", "dop_v1_", "dapi", "akia", "asia", "aiza", "ya29.", "sg.", ":aa", "age-secret", "rl_"),
)

# --- secrets that are named -----------------------------------------------------------------------------------------

# What stands where a value would, and is none: code, a type, the name of a variable, a gap to be filled in, our own label.
_NO_VALUE: Final = (
    r"(?![\w.]+[(\[]|[<\[*]|\$?\{|\$[A-Z_]{3}|[A-Za-z_]+(?:\.[A-Za-z_]+)+(?![\w.])|(?-i:[A-Z]+(?:_[A-Z]+)+)(?!\w)"
    r"|(?:string|required|optional|boolean|integer|number|undefined|default|missing|incorrect|invalid)\b)"
)
_VALUE: Final = rf"{_NO_VALUE}(?:(?<=\")[^\"\n]{{4,200}}|(?<=')[^'\n]{{4,200}}|[^\s\"']{{5,}}[^\s\"',;.)}}\]])"
_IS: Final = r"[\"']?\s{0,8}(?::=|=>|[:=])\s{0,8}[\"']?"
_NAMES: Final = (
    r"pass(?:word|wort|wd|phrase|code)|pwd|(?<![a-z])pw|secret[\w-]{0,24}(?=[\"']?\s{0,3}(?:=|:\s{0,3}[\"']))"
    r"|(?:api|access|account|private)[ _-]?key(?:[_-]id)?"
)
_NAMES_OF_MIXED: Final = r"(?:auth[_-]?|access[_-]?|refresh[_-]?)?token|session(?:[_-]?id)?|(?<![a-z])sid|secret[\w-]{0,24}"

# --- mail -----------------------------------------------------------------------------------------------------------

_LOCAL: Final = r"(?<![\w.+-])[\w.+-](?:[\w.+'-]{0,62}[\w+-])?"
_HOST: Final = r"(?:[\w-]{1,63}[.．]){1,8}(?:xn--[\w-]{2,59}|[^\W\d_]{2,24})\b"
# Where the sign is spelled or stands alone, only a known ending tells an address from a sentence or a product of matrices.
_ENDING: Final = (
    r"(?:com|org|net|edu|gov|info|biz|name|io|ai|dev|app|me|co|eu|uk|us|ca|au|nz|ie|de|at|ch|fr|it|es|pt|nl|be|se|no|dk|fi|pl|cz"
    r"|ru|ua|in|cn|jp|kr|br|mx|za|example|test|email|online|site|xyz|tech|cloud|studio)\b"
)
_AT: Final = r"(?: ?[\[({<] ?(?:[aä]t|@) ?[\])}>] ?| -at- )"
_AT_SIGNS: Final = ("at]", "at)", "at}", "at>", "at ]", "at )", "at }", "at >", "-at-", "ät)", "ät]", "[@", "(@")
_DOT: Final = r"(?:\.| ?[\[({<] ?(?:dot|\.) ?[\])}>] ?| -?dot-? )"
_BRACKETED: Final = rf"(?i){_LOCAL}{_AT}[\w-]{{1,63}}(?:{_DOT}[\w-]{{1,63}}){{0,6}}{_DOT}[^\W\d_]{{2,24}}\b"
_SPELLED: Final = (
    rf"(?i)(?:{_LOCAL} dot ){{0,2}}{_LOCAL} at (?!(?:the|a|an|this|that|least|each|every|any|one|noon)\b)"
    rf"[\w-]{{1,63}}(?: dot [\w-]{{1,63}}){{0,6}} dot {_ENDING}"
)

# --- addresses ------------------------------------------------------------------------------------------------------

# Of this machine, of no machine, a mask: nobody's. Four numbers after `Chrome/` or `version` are a version.
_NO_VERSION: Final = r"(?<![A-Za-z]/\d)(?<![vV]ersion \d)(?<!release \d)(?<!ection \d)(?<!hapter \d)"
_IPV4: Final = (
    rf"\d(?<![\w.]\d){_NO_VERSION}(?!(?<=1)27\.|(?<=0)\.0\.0\.0|(?<=2)55\.255\.)"
    r"\d{0,2}(?:\.\d{1,3}){3}(?!\w|\.\d)"
)
_IPV6: Final = (
    r"[23fF](?<![\w:.].)(?:(?<=[23])[\da-fA-F]{3}|(?<=[fF])(?:[cdCD][\da-fA-F]{2}|[eE][89abAB][\da-fA-F]))"
    r":(?=[\da-fA-F:]{0,36}:)[\da-fA-F:]{2,36}(?![\w:])"
)


def _ipv6(match: re.Match[str]) -> str:
    try:
        socket.inet_pton(socket.AF_INET6, match[0])
    except OSError:
        return match[0]
    return "[ip]"


# The only one that goes over several lines; without an end it takes the rest.
_PRIVATE_KEY: Final = Rule(
    r"(?s)-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
    "[private key]",
    "private key",
)
_RULES: Final = (
    Rule(rf"(?<![\w-])(?:{'|'.join(_FORMATS)})", "[key]", *_BEGINNINGS),
    Rule(r"(?:SK|AC)(?<![\w-]..)[0-9a-f]{32}(?!\w)", "[key]", "sk", "ac"),
    Rule(r"[MNO](?<![\w-].)[\w-]{22,26}\.[\w-]{6}\.[\w-]{27,38}(?![\w-])", "[key]", "."),
    Rule(r"(hooks\.slack\.com/services/|discord(?:app)?\.com/api/webhooks/)[\w/-]{16,}", r"\1[key]", "hooks"),
    Rule(r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*", "[token]", "eyj"),
    Rule(r"(://[^\s/:@]{0,64}:)[^\s/@\[]{1,128}(?=@)", r"\1[secret]", "://"),
    Rule(r"(?i)\b(bearer)(\s+)(?=\S*\d)[^\s\"',;]{6,}", r"\1\2[secret]", "bearer"),
    Rule(r"(?i)\b(authorization[\"']?\s{0,4}[:=]\s{0,4}[\"']?basic\s{1,4})[\w+/=-]{6,}", r"\1[secret]", "authorization"),
    # `password: x`, `"api_key": "x"`, `DB_NAMES=x`, `password is x1`; not `secret = load(…)`, nor "the password is required".
    Rule(
        rf"(?i)({_NAMES})({_IS}|\s{{1,8}}is:?\s{{1,8}}(?=\S*[\d_!@#$%^&*])){_VALUE}",
        r"\1\2[secret]",
        *("pass", "pw", "secret", "key"),
    ),
    # Without a sign between: `password Sommer2026`, `my key is x`. Both need what words do not have.
    Rule(
        r"(?i)\b((?:password|passphrase|pwd?) {1,3})(?=\S*\d)(?-i:(?=\S*[A-Z!?$%&*#]))[^\s\"']{6,}", r"\1[secret]", "pass", "pw"
    ),
    Rule(rf"(?i)(?<![a-z])(pass)({_IS}| {{1,8}}is:? {{1,8}})(?=[^\s\"']{{0,99}}\d){_VALUE}", r"\1\2[secret]", "pass"),
    Rule(r"(?i)\b(pin(?: is|:| =)[: ]{1,8})\d{4,8}\b", r"\1[secret]", "pin"),
    Rule(r"( (?:-u|--user) [\w.@+-]{1,64}:)(?!\[)[^\s\"']{4,}", r"\1[secret]", " -u ", " --user "),
    Rule(r"(?i)\b((?:(?:api|access|secret)[ _-]key|secret) {1,8})(?=[A-Za-z-]*\d)[\w-]{20,}", r"\1[secret]", "key", "secret"),
    Rule(r"\b([kK]ey(?: is)?:? {1,8})(?=[\w-]*\d)(?=[\w-]*[a-z])(?=[\w-]*[A-Z])[\w-]{20,}", r"\1[secret]", "key"),
    Rule(
        rf"(?i)({_NAMES_OF_MIXED})({_IS})(?=[^\s\"']{{0,99}}[A-Za-z])(?=[^\s\"']{{0,99}}\d){_NO_VALUE}[\w.~+/=-]{{10,}}",
        r"\1\2[secret]",
        *("token", "session", "sid", "secret"),
    ),
    # The last part of a host is letters: `lodash@4.17.21` is a version; and `git@` is nobody's mailbox.
    Rule(rf"(?!git@){_LOCAL}(?:@|%40|＠){_HOST}", "[email]", "@", "%40", "＠"),
    Rule(rf"\"[\w .+-]{{1,64}}\"@{_HOST}", "[email]", '"@'),
    Rule(rf"(?i)(?!git@){_LOCAL} ?@ ?(?:[\w-]{{1,63}} ?\. ?){{1,8}}{_ENDING}", "[email]", "@"),
    Rule(_BRACKETED, "[email]", *_AT_SIGNS),
    Rule(_SPELLED, "[email]", " dot "),
    Rule(rf"{_LOCAL} AT (?:[\w-]{{1,63}}\.){{1,8}}(?i:{_ENDING})", "[email]", " at "),
    Rule(rf"(?i)\b(e-?mail(?: address)?(?: is|:)? ){_LOCAL} at (?:[\w-]{{1,63}}\.){{1,8}}{_ENDING}", r"\1[email]", "mail"),
    Rule(_IPV4, "[ip]", "."),
    Rule(_IPV6, _ipv6, ":"),
)
# Lines, but for what is announced on one and stands on the next. Most hold nothing that a rule asks for: that is what is fast.
_LINES: Final = re.compile(r"(?<![:=])(?<![:=] )\n")


def prepare() -> None:
    """Compile all rules: some 40 ms that the first record with content else takes."""
    for rule in (_PRIVATE_KEY, *_RULES, *NUMBERS, ALONE):
        _ = rule.pattern


def redact(text: str) -> str:
    """`text` with keys, passwords, mail and IP addresses, cards, accounts and phone numbers replaced by their kind."""
    low = text.lower()
    if _PRIVATE_KEY.concerns(low):
        text = _PRIVATE_KEY.apply(text)
    rules = [rule for rule in _RULES if rule.concerns(low)]
    numbers = [rule for rule in NUMBERS if rule.concerns(low)]
    text = "\n".join([_line(line, rules, numbers) for line in _LINES.split(text)])
    return ALONE.apply(text) if len(text) < _SHORT else text


def _line(text: str, rules: list[Rule], numbers: list[Rule]) -> str:
    if SOME_DIGITS.search(text):
        rules = rules + numbers
    low = text.lower()
    for rule in rules:
        if rule.concerns(low):
            text = rule.apply(text)
    return text


def change_all(value: Any, change: Callable[[str], str], depth: int = 0) -> Any:
    """A JSON value with `change` made to every string in it; what is nested deeper than anybody reads is left out."""
    if depth > _MAX_DEPTH:
        return "[nested too deeply]"
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: change_all(item, change, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [change_all(item, change, depth + 1) for item in value]
    return value
