"""A recipe: one TOML file that says what a run does. Paths in it are relative to its own folder."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expunge.audit.names import check_probes
from expunge.audit.thresholds import CLAIMS, Thresholds
from expunge.errors import InputError, did_you_mean
from expunge.files import at_home, exists, read_toml
from expunge.judges.judge_file import judge_sources, placed_judge
from expunge.judges.verdict import FAULTS, Label
from expunge.sources import unsliced
from expunge.training.config import UnlearnConfig

if TYPE_CHECKING:
    from expunge.model import LanguageModel

TABLES: Mapping[str, Mapping[str, type]] = {
    "": {"model": str, "template": str, "device": str, "seed": int},
    "scan": {"dialogues": list, "judges": list, "label": str, "samples": int, "set_aside": bool},
    "unlearn": {"normal": list, "expected": str, "never_seen": list},
    "audit": {
        **dict.fromkeys(("unseen", "ability", "neighbours", "holdout", "lookalikes", "probes"), list),
        "oracle": str,
        "samples": int,
    },
}
"""Every key, its table and its type.

`unlearn` also takes the fields of `UnlearnConfig`, but for its seed, and `unlearn.options` those of the method's terms;
`audit.thresholds` takes a share for each claim.
"""
LIMITS = "audit.thresholds"
OPTIONS = "unlearn.options"

FILES = {"dialogues", "normal", "never_seen", "expected", "unseen", "ability", "neighbours", "holdout", "lookalikes"}
MODELS = {"model", "oracle"}
COUNTS = {"seed", "samples"}
SAMPLES = 10_000
"""Answers to one prompt, at most: they are held together."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a run reads and does; see docs/recipe.md.

    dialogues: logged dialogues or prompts. judges: as on the command line (`privacy`, `facts=FILE`, …); without judges
        every dialogue is a deletion request, flagged with `label`. set_aside: rows that cannot be used are left out.
    normal: ordinary dialogues. never_seen: dialogues like those to forget, on which the model was not
        trained. expected: a templates file, or `sampled` for the model's own answers.
    unseen, ability, neighbours, holdout, lookalikes, oracle, probes: what the audit asks, where given.
    thresholds: what it allows.
    """

    model: str
    dialogues: tuple[str, ...]
    judges: tuple[str, ...] = ()
    label: Label = "privacy"
    scan_samples: int = 0
    set_aside: bool = False
    normal: tuple[str, ...] = ()
    never_seen: tuple[str, ...] = ()
    expected: str | None = None
    config: UnlearnConfig = field(default_factory=UnlearnConfig)
    unseen: tuple[str, ...] = ()
    ability: tuple[str, ...] = ()
    neighbours: tuple[str, ...] = ()
    holdout: tuple[str, ...] = ()
    lookalikes: tuple[str, ...] = ()
    oracle: str | None = None
    probes: tuple[str, ...] = ()
    thresholds: Thresholds = field(default_factory=Thresholds)
    audit_samples: int = 16
    template: str | None = None
    device: str | None = None
    seed: int = 0

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Recipe:
        """A recipe from its fields as JSON keeps them."""
        lists = {k: tuple(v) for k, v in values.items() if isinstance(v, list)}
        config = {**values["config"], "terms": tuple(values["config"]["terms"])}
        whole = {"config": UnlearnConfig(**config), "thresholds": Thresholds(**values["thresholds"])}
        return cls(**(dict(values) | lists | whole))

    def load(self, name: str, *, bits: int = 0, sharded: bool = False) -> LanguageModel:
        """A model with the recipe's template, on its device; the rest as `load_model`."""
        from expunge.model import load_model  # takes torch to import

        return load_model(name, template=self.template, device=self.device, bits=bits, sharded=sharded)

    def check_models(self, *, lora: bool = False) -> None:
        """Make sure that there are the model and the oracle, and the device, without loading weights.

        Raises:
            InputError: as `check_model`.
        """
        from expunge.model import check_model

        check_model(self.model, device=self.device, lora=lora)
        if self.oracle:
            check_model(self.oracle)

    def files(self) -> list[str]:
        """Every local file that is read, slices removed."""
        return sorted(set().union(*self.named().values()))

    def named(self) -> dict[str, set[str]]:
        """The local files that each key names, slices removed; of `judges`, those that they read."""
        given = {key: getattr(self, key) or () for key in FILES} | {"expected": [self.expected or ""]}
        paths = {key: [unsliced(name)[0] for name in names] for key, names in given.items()}
        paths["judges"] = [path for spec in self.judges for path in judge_sources(spec)]
        paths["template"] = ["" if _is_jinja(self.template or "") else self.template or ""]
        return {key: {n for n in names if n and exists(Path(n)) and Path(n).is_file()} for key, names in paths.items()}


def read_recipe(path: str | Path, *, seed: int | None = None) -> Recipe:
    """Read a recipe file.

    Raises:
        InputError: no such file, not TOML, an unknown or missing key, a value of the wrong type or out of range.
    """
    path = Path(path)
    table = read_toml(path)
    try:
        return _recipe(_checked(table, path.parent), seed)
    except InputError as error:
        raise InputError(error.message, file=path, remedy=error.remedy) from None


def _recipe(values: Mapping[str, Mapping[str, Any]], seed: int | None) -> Recipe:
    """From the values of each table; what is not among them is as `Recipe` has it."""
    for needed, where in (("model", ""), ("dialogues", "scan")):
        if needed not in values[where]:
            raise InputError(f"{needed!r} is missing", remedy=f"Add it{f' to [{where}]' if where else ''}.")
    given = dict(values[""])
    if seed is not None:
        given["seed"] = seed
    for name in ("scan", "audit"):
        given |= {f"{name}_samples" if key == "samples" else key: value for key, value in values[name].items()}
    settings = dict(values["unlearn"])
    given |= {key: settings.pop(key) for key in TABLES["unlearn"] if key in settings}
    config = UnlearnConfig.of(
        **settings, options=values[OPTIONS], never_seen="never_seen" in given, seed=given.get("seed", 0)
    )
    thresholds = Thresholds(**values[LIMITS])
    check_probes(given.get("probes", ()))
    return Recipe(**given, config=config, thresholds=thresholds)


def check_label(name: str) -> Label:
    """The label of this name.

    Raises:
        InputError: it is no fault's label.
    """
    found = next((label for label in FAULTS if label == name), None)
    if found is None:
        hint = did_you_mean(name, FAULTS)
        fault = f"unknown label {name!r}" + (f".{hint}" if hint else "")
        raise InputError(fault, remedy=f"Known: {', '.join(FAULTS)}.")
    return found


def check_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `UnlearnConfig`, with `options` as a table, as a recipe takes them.

    Raises:
        InputError: a value of the wrong type, or not finite.
    """
    options = given.get("options", {})
    if not isinstance(options, dict):
        raise InputError("'options' must be a table")
    fields = {k: _value(k, value, _settings()[k], Path()) for k, value in given.items() if k != "options"}
    return fields | {"options": {k: _value(k, value, float, Path()) for k, value in options.items()}}


def _settings() -> dict[str, type]:
    return {f.name: _kind(f.type) for f in dataclasses.fields(UnlearnConfig) if f.name not in ("seed", "options")}


def _checked(table: Mapping[str, Any], folder: Path) -> dict[str, dict[str, Any]]:
    """The values of each table, "" for what stands in none; paths in them are relative to `folder`."""
    known: dict[str, dict[str, type]] = {name: dict(keys) for name, keys in TABLES.items()}
    known["unlearn"] |= _settings()
    known[LIMITS] = dict.fromkeys(CLAIMS, float)
    for inner in (LIMITS, OPTIONS):
        table = _flat(table, inner)
    known[OPTIONS] = dict.fromkeys(table.get(OPTIONS, {}), float)  # which there are, the method's terms say
    found: dict[str, dict[str, Any]] = {name: {} for name in known}
    top = {key: value for key, value in table.items() if not isinstance(value, dict)}
    for name, keys in (("", top), *((k, v) for k, v in table.items() if isinstance(v, dict))):
        if name not in known or (keys is not top and not name):
            raise _unknown(f"table [{name}]", name, [t for t in known if t])
        for key, value in keys.items():
            if not name and key in known:
                raise InputError(f"{key!r} must be a table", remedy=f"Begin it with [{key}].")
            if key not in known[name]:
                raise _unknown(f"key {key!r}" + (f" in [{name}]" if name else ""), key, list(known[name]))
            found[name][key] = _value(key, value, known[name][key], folder)
    return found


def _flat(table: Mapping[str, Any], inner: str) -> dict[str, Any]:
    """A table in a table beside it: [audit.thresholds] beside [audit]."""
    outer, _, name = inner.partition(".")
    around = table.get(outer)
    if not isinstance(around, dict) or name not in around:
        return dict(table)
    if not isinstance(around[name], dict):
        raise InputError(f"{name!r} must be a table", remedy=f"Begin it with [{inner}].")
    return {**table, outer: {k: v for k, v in around.items() if k != name}, inner: around[name]}


def _kind(annotation: Any) -> type:
    """Of a field of `UnlearnConfig`, from its annotation."""
    kinds = {"int": int, "str": str, "bool": bool, "tuple[str, ...]": list}
    return kinds.get(str(annotation), float)


def _value(key: str, value: Any, kind: Any, folder: Path) -> Any:
    if kind is list and isinstance(value, str):
        value = [value]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise InputError(f"{key!r} must be {_NAMES[kind]}, not {type(value).__name__}")
    if kind is list:
        if not value or not all(isinstance(item, str) for item in value):
            raise InputError(f"{key!r} must be a list of texts, not empty")
        return tuple(_placed(key, item, folder) for item in value)
    if kind is str:
        if key in ("method", "modules"):
            return value
        return check_label(value) if key == "label" else _placed(key, value, folder)
    if kind is bool:
        return value
    if not math.isfinite(value):
        raise InputError(f"{key!r} must be finite")
    if key in COUNTS and value < 0:
        raise InputError(f"{key!r} must not be negative")
    if key == "samples" and value > SAMPLES:
        raise InputError(f"{key!r} must be at most {SAMPLES}")
    if key == "seed" and value >= 2**32:
        raise InputError(f"{key!r} must be less than 2^32")
    return value


_NAMES = {
    bool: "true or false",
    str: "a text",
    int: "a whole number",
    float: "a number",
    list: "a text or a list of texts",
}


def _placed(key: str, value: str, folder: Path) -> str:
    """Environment variables filled in; a path that exists beside the recipe made whole."""
    if not value.strip():
        raise InputError(f"{key!r} is empty", remedy="Remove it, or give it a text.")
    if key == "template" and _is_jinja(value):
        return value
    value = at_home(os.path.expandvars(value))
    unset = re.search(r"\$(\w+|\{\w+\})", value)
    if unset:
        raise InputError(f"{key!r}: {unset[0]} is not set", remedy="Set this environment variable, or name the path.")
    if key == "judges":
        return placed_judge(value, folder)
    return _beside(value, folder) if key in FILES | MODELS | {"template"} else value


def _is_jinja(template: str) -> bool:
    return "{{" in template or "{%" in template


def _beside(value: str, folder: Path) -> str:
    name, _ = unsliced(value)
    place = folder / name
    return str(place.resolve()) + value[len(name) :] if exists(place) else value


def _unknown(what: str, name: str, known: list[str]) -> InputError:
    return InputError(f"unknown {what}.{did_you_mean(name, known)}", remedy=f"Known: {', '.join(sorted(known))}.")
