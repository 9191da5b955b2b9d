"""National numbers that stand for one person: their forms, the words that name them, and who checks them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from expunge.judges.folding import UNSPACED


@dataclass(frozen=True, slots=True)
class Number:
    """One country's number.

    form: what it looks like. alone: the same, with nothing grown onto it. module: the part of `stdnum` that checks it
    ("" if the form says all). context: words that name it. strong: the writing that needs no such word; None where
    digits alone are too common.
    """

    kind: str
    form: str
    alone: re.Pattern[str]
    module: str
    context: re.Pattern[str]
    strong: re.Pattern[str] | None = None
    check_digit: bool = True


LETTER = rf"[^\W{UNSPACED}]"
"""A letter or digit that a number does not stand beside; scripts without spaces set theirs there."""


def _alone(form: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!{LETTER})(?<!-)(?<!\d[.,])(?:{form})(?!{LETTER})(?!-)(?![.,]\d)", re.IGNORECASE)


def _number(kind: str, form: str, module: str, context: str, strong: str | None = None, checked: bool = True) -> Number:
    return Number(
        kind,
        form,
        _alone(form),
        module,
        re.compile(rf"\b(?:{context})\b", re.IGNORECASE),
        re.compile(strong) if strong else None,
        checked,
    )


ANY = r".*"

NUMBERS = (
    _number("US social security number", r"\d{3}[ .-]\d{2}[ .-]\d{4}|\d{9}", "us.ssn",
            r"ssn|social security(?: number| no)?", r"\d{3}-\d{2}-\d{4}", checked=False),
    _number("US individual taxpayer number", r"9\d{2}-?\d{2}-?\d{4}", "us.itin", r"itin|taxpayer", checked=False),
    _number("UK national insurance number",
            r"(?!bg|gb|kn|nk|nt|tn|zz)[a-ceghj-prtw-z][a-ceghj-nprtw-z] ?\d{2} ?\d{2} ?\d{2} ?[a-d]", "",
            r"nino|national insurance|ni (?:number|no)", r"[A-Z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-D]", checked=False),
    _number("UK NHS number", r"\d{3}[ -]?\d{3}[ -]?\d{4}", "gb.nhs", r"nhs|patient"),
    _number("German tax identifier", r"\d{2} ?\d{3} ?\d{3} ?\d{3}", "de.idnr",
            r"steuer\w*|id-?nr|tin|tax(?: id\w*| number)?"),
    _number("French social security number", r"[12] ?\d{2} ?\d{2} ?\d[\dAB] ?\d{3} ?\d{3} ?\d{2}", "fr.nir",
            r"nir|insee|s[ée]curit[ée] sociale|social security", ANY),
    _number("Spanish DNI", r"\d{8}[- ]?[a-z]", "es.dni", r"dni|nif|documento", r"\d{8}-?[A-Z]"),
    _number("Spanish NIE", r"[xyz][- ]?\d{7}[- ]?[a-z]", "es.nie", r"nie|extranjer\w+", ANY),
    _number("Italian codice fiscale", r"[a-z]{6}\d{2}[a-ehlmprst]\d{2}[a-z]\d{3}[a-z]", "it.codicefiscale",
            r"codice fiscale", ANY),
    _number("Polish PESEL", r"\d{11}", "pl.pesel", r"pesel"),
    _number("Dutch BSN", r"\d{9}|\d{3}[. ]\d{3}[. ]\d{3}|\d{4}\.\d{2}\.\d{3}", "nl.bsn",
            r"bsn|burgerservicenummer|sofi\w*"),
    _number("Belgian national number", r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}|\d{11}", "be.nn",
            r"rijksregister\w*|registre national|national (?:register )?number", r"\d\d\.\d\d\.\d\d-\d{3}\.\d\d"),
    _number("Swiss AHV number", r"756[. ]?\d{4}[. ]?\d{4}[. ]?\d{2}", "ch.ssn", r"ahv\w*|avs|social security", ANY),
    _number("Swedish personal number", r"(?:\d{2})?\d{6}[-+]?\d{4}", "se.personnummer", r"person(?:al )?num\w+"),
    _number("Finnish personal code", r"\d{6}[-+a]\d{3}[0-9a-z]", "fi.hetu", r"hetu|henkil[öo]tunnus\w*", ANY),
    _number("Danish CPR number", r"\d{6}-?\d{4}", "dk.cpr", r"cpr"),
    _number("Canadian social insurance number", r"\d{3}[- ]?\d{3}[- ]?\d{3}", "ca.sin", r"sin|social insurance"),
    _number("Australian tax file number", r"\d{3} ?\d{3} ?\d{2,3}", "au.tfn", r"tfn|tax file"),
    _number("Brazilian CPF", r"\d{3}\.\d{3}\.\d{3}-\d{2}|\d{11}", "br.cpf", r"cpf", r"\d{3}\.\d{3}\.\d{3}-\d{2}"),
    _number("Indian Aadhaar number", r"\d{4}[ -]?\d{4}[ -]?\d{4}", "in_.aadhaar", r"aadhaa?r|uidai"),
    _number("Indian PAN", r"[a-z]{3}[abcfghljptk][a-z]\d{4}[a-z]", "in_.pan", r"pan|permanent account",
            r"[A-Z]{5}\d{4}[A-Z]", checked=False),
    _number("South African identity number", r"\d{6} ?\d{4} ?\d{3}", "za.idnr", r"id(?:entity)?(?: number| no)?"),
    _number("South Korean resident number", r"\d{6}-?\d{7}", "kr.rrn", r"rrn|resident", r"\d{6}-[1-8]\d{6}"),
)  # fmt: skip

ANY_NUMBER = _alone("|".join(number.form for number in NUMBERS))
"""Found wherever one of them is: one search in place of theirs, since most texts hold none."""
