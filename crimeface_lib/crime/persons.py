"""Places, never persons: columns that tell of people are refused by their name and by what their values look like."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.errors import RefusedError

if TYPE_CHECKING:
    import pandas as pd

#: Words that make a column one about persons wherever they stand in its name.
_ROLES = (
    r"suspect|offender|victim|arrestee|detainee|complainant|witness|defendant|perpetrator|accused|nominal|prisoner|"
    r"informant|ethnic|ethnicity|nationality|religion|citizenship|"
    r"sospechoso|victima|agresor|testigo|tater|taeter|opfer|verdachtiger?|beschuldigter?|zeuge|"
    r"suspecte|victime|temoin|indagato|vittima|testimone|podejrzany|ofiara|verdachte|slachtoffer"
)
_WORD = re.compile(rf"({_ROLES})(s|es|n|in|a|e)?")
#: Whole names, lower case, letters and digits only.
_WHOLE = re.compile(
    r"(name|(full|first|last|middle|given|family|maiden|display|user|officer|driver|person|patient)(s)?names?|forenames?|"
    r"surnames?|alias(es)?|nickname|nombres?|apellidos?|prenoms?|nom|vornamen?|nachnamen?|cognomi?|imie|nazwisko|"
    r"voornaam|achternaam|dob|age(range|group|band|years|yrs|inyears|atoffence|atoffense|atarrest)?|edad|alter|eta|"
    r"sex|gender|race|sexo|sexe|genre|genero|geschlecht|sesso|etnia|raza|person|persons|personid|personref|personkey|"
    r"nhs(no|num|number|id)?|nino|nationalid|idcard|passport\w*|driv(ing|ers?)licen[cs]e\w*|pnc(id|no|number)?|ssn|dni|"
    r"(home|cell|mobile|contact|tele)?phone(no|num|number)?s?|tel|mobile(no|num|number)?|e?mail(address)?|homeaddress|"
    r"(badge|collar|warrant|custody)(no|num|number|id)?|officer(id|no|num|number|ref)?|vrm|vrn|(number|licen[cs]e|reg)plate|"
    r"(hair|eye|skin)colou?r|complexion|tattoos?|maritalstatus|immigrationstatus|disability|sexualorientation|"
    r"faceid|fingerprint|dna\w*)"
)
_INSIDE = re.compile(
    r"dateofbirth|birthdate|birthday|geburtsdatum|datenaissance|datedenaissance|fechanacimiento|fechadenacimiento|"
    r"datanascita|ethnicity|ethnizitat|nationality|religion|nationalinsurance|socialsecurity|"
    r"(suspect|offender|victim|arrestee|detainee|complainant|witness|defendant|person|nominal)"
    r"(ids?|names?|number|ref|key|dob|age|sex|address|gender|race)$"
)
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[a-z]{2,}", re.IGNORECASE)
_PHONE = re.compile(
    r"\+\d[\d ().-]{7,16}\d|0[1-9]\d{2,4}[ -]\d{3,4}[ -]?\d{3,4}|07\d{9}|\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}"
)
_NUMBERS = re.compile(r"[A-CEGHJ-PR-TW-Z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-D]|\d{3}-\d{2}-\d{4}", re.IGNORECASE)
_FULL_NAME = re.compile(
    r"(?:(?:mr|mrs|ms|miss|dr)\.? )?([^\W\d_]+),? (?:[^\W\d_]\.? )?([^\W\d_'-]+)(?: [^\W\d_'-]+)?", re.IGNORECASE
)
_DATE = re.compile(r"(\d{4}[-/]\d{1,2}[-/]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})(?:[ T]00:00(?::00)?)?")
_GIVEN_NAMES = """james john robert michael william david richard thomas charles daniel matthew anthony mark paul steven
andrew george kenneth brian edward peter jack harry oliver joseph samuel stephen simon martin alan ian kevin gary jason
mary patricia jennifer linda elizabeth barbara susan jessica sarah karen lisa nancy margaret sandra ashley emily joe
emma olivia amelia sophie chloe laura anna julia maria jane claire helen alice grace lucy hannah rachel rebecca amit
mohammed muhammad mohamed ahmed ali hassan hussein omar ibrahim yusuf fatima aisha khadija zainab maryam priya raj
sanjay deepak anil sunita jose juan carlos luis miguel antonio manuel francisco carmen ana isabel pedro pierre jean
michel philippe marie camille hans klaus wolfgang ursula giuseppe giovanni marco luca piotr jan andrzej katarzyna
chen wei li ming nguyen tran kim olga ivan dmitri elena natalia"""
_STREET_WORDS = """street road lane close avenue drive way court gardens terrace grove walk square place park hill row
crescent st rd ave dr ln blvd boulevard bridge station market green mews wharf quay parade view rise yard house hospital
school centre center town city ward district borough county police constabulary church hall hotel cross wood field"""
_GIVEN, _STREETS = frozenset(_GIVEN_NAMES.split()), frozenset(_STREET_WORDS.split())
_ENOUGH = 0.5  # share of a column's values that makes it a column of such values
_LOOKED_AT = 200  # distinct values of a column
_RECORDS = 2_000  # of a column that holds records


def refuse_person_columns(columns: Iterable[object], *, where: str = "the table") -> None:
    """Refuse a table that has a column about persons: events are keyed by place and time.

    Raises
    ------
    RefusedError : a name, a date of birth, an ethnicity, a suspect, victim or person key among ``columns``, in
        English and in some other languages.

    >>> refuse_person_columns(["Crime ID", "LSOA name", "Month"])
    >>> refuse_person_columns(["Month", "Date of birth"])
    Traceback (most recent call last):
    ...
    crimeface_lib.core.errors.RefusedError: the table: got columns about persons (Date of birth); ...
    """
    found = [str(c) for c in columns if is_person_column(c)]
    if found:
        raise RefusedError(f"{where}: got columns about persons ({', '.join(found)}); {_RULE}")


_RULE = (
    "crime analysis takes events keyed by place and time only (policy P7: places, never persons); "
    "drop these columns at the source"
)


def is_person_column(column: object) -> bool:
    """Tell whether a column's name says that it is about persons, however it is spelt.

    >>> [is_person_column(c) for c in ("suspectName", "MO of offender", "Täter", "Age of building", "Street name")]
    [True, True, True, False, False]
    """
    plain = unicodedata.normalize("NFKD", str(column))
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", plain).lower())
    joined = re.sub(r"[^a-z0-9]", "", plain.lower())
    return bool(_WHOLE.fullmatch(joined) or _INSIDE.search(joined) or any(_WORD.fullmatch(w) for w in words))


def refuse_person_values(table: pd.DataFrame, *, where: str = "the table", known: Iterable[str | None] = ()) -> None:
    """Refuse a table in which a column's values look like persons', whatever the column is called.

    Looked for are e-mail addresses, telephone, national insurance, social security and NHS numbers, full names, and
    dates decades apart. Records inside a column (structs, lists, JSON) are looked into, their keys as names of columns.
    It is a heuristic: a column that hides persons better than that passes.

    Parameters
    ----------
    known : columns that the caller named as time or coordinates; not looked at.

    Raises
    ------
    RefusedError : naming the column and what its values look like, never a value.

    >>> import pandas as pd
    >>> refuse_person_values(pd.DataFrame({"note": ["On or near High Street", "Car park"]}))
    >>> refuse_person_values(pd.DataFrame({"note": ["a.b@example.org", "c@example.org"]}))
    Traceback (most recent call last):
    ...
    crimeface_lib.core.errors.RefusedError: the table, column 'note': got values that look like e-mail addresses; ...
    """
    for position, column in enumerate(table.columns):
        if column in set(known) or column == "geometry":
            continue
        values = table.iloc[:, position]
        inside = _inside(values)
        refuse_person_columns(inside, where=f"{where}, inside the column {str(column)!r}")
        for part in (values, *inside.values()):
            if what := _look(part):
                raise RefusedError(f"{where}, column {str(column)!r}: got values that look like {what}; {_RULE}")


def _inside(column: pd.Series) -> dict[str, pd.Series]:
    """Return the values under each key of the records that a column holds, as objects or as JSON."""
    import pandas as pd

    if not (pd.api.types.is_object_dtype(column) or pd.api.types.is_string_dtype(column)):
        return {}
    found: dict[str, list[object]] = {}
    for value in column.dropna().head(_RECORDS):
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
            try:
                value = json.loads(value)
            except ValueError:
                continue
        if not isinstance(value, str):
            for key, leaf in _leaves(value):
                found.setdefault(key, []).append(leaf)
    return {key: pd.Series(leaves, dtype=object) for key, leaves in found.items()}


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield str(name), None
            yield from _leaves(part, str(name))
    elif isinstance(value, list | tuple | np.ndarray):
        for part in value:
            yield from _leaves(part, key)
    else:
        yield key, value


def _look(column: pd.Series) -> str:
    """Return what the values look like, or nothing."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(column):
        return "dates of birth" if _decades(column) else ""
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_float_dtype(column):
        return ""
    values = column.dropna()
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = pd.Series(values.cat.categories)
    texts = values.head(20_000).astype(str).str.strip().drop_duplicates().head(_LOOKED_AT).tolist()
    if not texts:
        return ""
    for what, test in _LOOKS:
        if np.mean([test(t) for t in texts]) >= _ENOUGH:
            return what
    if len(texts) >= 20 and np.mean([_nhs(t) for t in texts]) >= 0.9:  # 1 in 11 numbers passes by chance
        return "NHS numbers"
    dated = [t for t in texts if _DATE.fullmatch(t)]
    if len(dated) >= 0.9 * len(texts):
        years = pd.Series([int(re.search(r"\d{4}", t)[0]) for t in dated])  # type: ignore[index]
        return "dates of birth" if _wide(years) else ""
    return ""


def _decades(column: pd.Series) -> bool:
    stamps = column.dropna()
    return len(stamps) > 0 and bool((stamps.dt.normalize() == stamps).all()) and _wide(stamps.dt.year)


def _wide(years: pd.Series) -> bool:
    """Births lie decades apart, events years apart."""
    return len(years) >= 5 and float(years.quantile(0.9) - years.quantile(0.1)) >= 25


def _nhs(text: str) -> bool:
    digits = text.replace(" ", "").replace("-", "")
    if not (len(digits) == 10 and digits.isdecimal()):
        return False
    check = 11 - sum(int(d) * w for d, w in zip(digits, range(10, 1, -1), strict=False)) % 11
    return check % 11 == int(digits[9])


def _full_name(text: str) -> bool:
    found = _FULL_NAME.fullmatch(text)
    words = text.lower().replace(",", " ").split()
    return bool(found) and words[-1] not in _STREETS and any(w in _GIVEN for w in words[:3])


_LOOKS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("e-mail addresses", lambda text: bool(_EMAIL.fullmatch(text))),
    ("telephone numbers", lambda text: bool(_PHONE.fullmatch(text))),
    ("national insurance or social security numbers", lambda text: bool(_NUMBERS.fullmatch(text))),
    ("full names", _full_name),
)
