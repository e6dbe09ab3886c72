"""Rules for numbers that belong to somebody: cards, accounts, phones. Knows their shapes and check digits, and no country's plan.

A library that knows all plans (phonenumbers) has to be told the country, which a log does not know: untold it finds two of five
numbers, told a wrong one it takes order numbers for phones; both are measured in bench/redaction.
"""

from __future__ import annotations

import re
from typing import Final

from relight.telemetry.rules import Rule

# --- cards and accounts -----------------------------------------------------------------------------------------------

_GAP: Final = "[ \u00a0._/\u2013-]{0,2}"
_CARD: Final = re.compile(r"(?:4|5[0-8]|2[2-7]|35|6\d)\d*|3[47]\d{13}|3[068]\d{12}")
_CARD_SHAPE: Final = (
    rf"[2-6](?<![\w.\]].)(?<![0-9A-Fa-f]-.)\d{{3}}(?:(?:{_GAP}\d{{4}}){{3}}|{_GAP}\d{{6}}{_GAP}\d{{4,5}})(?![\w]|\.\d)"
)
_CARD_WORD: Final = (
    r"(?i)((?:card|visa|amex|maestro)(?: (?:number|no\.?|nr\.?|is|was))*[ :#=]{1,3})"
    rf"\d{{4}}{_GAP}\d{{4}}{_GAP}\d{{4}}{_GAP}\d{{2,4}}(?!\d)"
)
_IBAN: Final = r"[A-Z](?<![\w\]].)[A-Z]\d\d(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)"
_SSN: Final = r"[0-8](?<![\w.\]-].)(?!(?<=0)00|(?<=6)66)\d\d-(?!00)\d\d-(?!0000)\d{4}(?![\w-]|\.\d)"


def _card(match: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", match[0])
    return "[card]" if _CARD.fullmatch(digits) and _luhn(digits) else match[0]


def _luhn(digits: str) -> bool:
    """ISO/IEC 7812-1: every second digit from the right doubled, and the sum of all digits is a multiple of ten."""
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def _iban(match: re.Match[str]) -> str:
    """ISO 13616: with its first four characters behind and letters as numbers from 10, it leaves 1 when divided by 97."""
    text = match[0].replace(" ", "")
    return "[account]" if int("".join(str(int(char, 36)) for char in text[4:] + text[:4])) % 97 == 1 else match[0]


# --- phones -----------------------------------------------------------------------------------------------------------

# Patterns begin with the character they look for, and look back from there: that is how Python finds candidates quickly.
_SPACE: Final = "[ \u00a0/\u2013-]"
_ANY_SPACE: Final = "[ \u00a0./()\u2013-]"
_END: Final = r"(?!\w|\.\d)"
_EXTENSION: Final = r"(?:,? {0,2}(?:ext\.?|extension|x)[ .:]{0,2}\d{1,6}(?!\w))?"
_NO_DATE: Final = r"(?!\d{4}-\d\d-\d\d)(?!\d\d?[./-]\d\d?[./-]\d{2,4}(?!\d|[./-]\d))"
# A nought that begins a word, and neither a date nor bits nor a row of small numbers.
_NOUGHT: Final = r"0(?<![\w.+#,\]-].)(?<!\d\d .)(?!\d?[./-]\d\d?[./-]\d{2,4}(?!\d|[./-]\d))(?![01 ]{8,}(?!\d))(?!\d(?: \d\d){5})"

_ABROAD: Final = rf"[+＋](?<![\w+\]].)[1-9](?:{_ANY_SPACE}{{0,3}}\d){{6,14}}{_END}"
_ABROAD_00: Final = rf"0(?<![\w.+#\]-].)0 ?[1-9](?:{_ANY_SPACE}{{0,3}}\d){{8,13}}{_END}"
# 212-555-0147, 1 212 555 0147, (212) 555-0147; not within a row of numbers, which looks alike.
_AMERICA: Final = (
    r"[1-9](?<![\w.+$€£#/\]-].)(?<!\d .)(?:(?<=1)[ .-]?(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-])|(?<=[2-9])\d\d[ ./-])"
    r"\d{3}[ .-]\d{4}(?! \d|-|\w|\.\d)"
)
_FREE: Final = r"1(?<![\w.+$€£#/\]-].)[38]00[ -]\d{3}[ -]\d{3}(?! \d|-|\w|\.\d)"
_AMERICA_BRACKETS: Final = r"\((?<![\w(\]].)[2-9]\d\d\) ?\d{3}[ .-]\d{4}(?!-|\w|\.\d)"
# 030 12345678, 030/1234567-8, 0171/234 56 78, 06 12 34 56 78; (020) 7946 0958; 01.23.45.67.89; 07700900123.
_GROUPS: Final = rf"(?:{_SPACE}{{0,3}}\d{{2,8}}){{1,4}}(?:-\d{{1,4}})?{_END}"
_NATIONAL: Final = rf"{_NOUGHT}(?=(?:{_ANY_SPACE}{{0,3}}\d){{8}})[1-9]\d{{0,4}}(?={_SPACE}){_GROUPS}"
_NATIONAL_BRACKETS: Final = rf"\((?<![\w(\]].)0[1-9]\d{{0,4}}\){_GROUPS}"
_NATIONAL_DOTS: Final = rf"{_NOUGHT}[1-9]\d{{0,2}}(?=(?:\.?\d){{7}})(?:\.\d{{2,4}}){{2,4}}{_END}"
_NATIONAL_WHOLE: Final = rf"{_NOUGHT}[1-9]\d{{8,9}}{_END}"
# (11) 91234-5678, 8 (495) 123-45-67; not a year in brackets.
_BRACKETS: Final = r"\((?<![\w(\]].)(?!19|20)[1-9]\d{1,4}\) ?\d{2,5}(?:[ -]\d{2,5}){1,3}(?![\w-]|\.\d)"
_ASIA: Final = r"1(?<![\w.+#\]-].)[3-9]\d([ -])\d{4}\1\d{4}(?!-|\w|\.\d)"
# Anything of seven digits and more after a word that announces it, with only small words between.
_ANNOUNCING: Final = (
    *(
        "phone",
        "telefon",
        "tel",
        "mobil",
        "mob",
        "tlf",
        "rufnummer",
        "handy",
        "whatsapp",
        "whats app",
        "wa.me",
        "sms",
        "fax",
        "landline",
        "hotline",
        "office",
        "contact",
    ),
    *("appele", "llám", "llama", "chiama", "ligue", "call me", "call us", "text me", "ring me", "reach me"),
)
# So common in other senses that the number has to look like one.
_CALLING: Final = ("call", "cell's", "cell", "dial", "ring", "text")
_SMALL: Final = r"me|us|him|her|them|at|on|al|le|il|under|is|it's|no|nr|number|back|please|now|to"
_FILLING: Final = rf"[ :.,=#/'\"(-]{{1,3}}(?:(?:{_SMALL})(?!\w)[ :.=#]{{1,2}}){{0,4}}"
_MY_NUMBER: Final = r"(?:my|our|his|her|their) (?:\w{1,12} )?number"
_ANNOUNCED: Final = (
    rf"(?i)(?<![\w.])((?:{'|'.join(map(re.escape, _ANNOUNCING))})\w{{0,4}}|{_MY_NUMBER})({_FILLING})"
    rf"{_NO_DATE}\d(?:{_ANY_SPACE}{{0,2}}\d){{6,14}}{_END}"
)
_CALLED: Final = (
    rf"(?i)(?<![\w.])((?:{'|'.join(_CALLING)})({_FILLING}))"
    rf"{_NO_DATE}(?:\d(?:{_ANY_SPACE}{{0,2}}\d){{8,14}}|\d{{3}}-\d{{4}}){_END}"
)
_PHONES: Final = (
    *(_ABROAD, _ABROAD_00, _AMERICA, _FREE, _AMERICA_BRACKETS, _NATIONAL, _NATIONAL_BRACKETS, _NATIONAL_DOTS, _NATIONAL_WHOLE),
    *(_BRACKETS, _ASIA),
)

# Nothing but a number of nine to fifteen digits, as people answer when they are asked for theirs.
ALONE: Final = Rule(
    rf"\A\s{{0,9}}(?=(?:\d{_ANY_SPACE}{{0,3}}){{9,15}}!?\s{{0,9}}\Z){_NO_DATE}"
    rf"(?:[18][ -])?\d\d+(?:{_ANY_SPACE}{{1,3}}\d\d+){{0,4}}!?\s{{0,9}}\Z",
    "[phone]",
)

# A text without seven digits near each other (IBANs have letters between) holds nothing for the rules.
SOME_DIGITS: Final = re.compile(r"\d(?:[^\d]{0,5}\d){6}")
NUMBERS: Final = (
    Rule(_CARD_SHAPE, _card),
    Rule(_CARD_WORD, r"\1[card]", "card", "visa", "amex", "maestro"),
    Rule(_IBAN, _iban),
    Rule(_SSN, "[account]", "-"),
    *(Rule(phone + _EXTENSION, "[phone]") for phone in _PHONES),
    Rule(_ANNOUNCED + _EXTENSION, r"\1\2[phone]", *_ANNOUNCING, "number"),
    Rule(_CALLED + _EXTENSION, r"\1[phone]", *_CALLING),
)
