"""The configuration against its schema: defaults filled in, errors that name the key and the mend."""

import difflib
import json
from collections.abc import Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError

from quanta.config import checks, members
from quanta.config.members import Config
from quanta.errors import QuantaError


def read_schema(path: str | Path) -> dict[str, Any]:
    """The schema as a dictionary."""
    schema: dict[str, Any] = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    return schema


def over(base: Config, other: Config) -> Config:
    """One configuration over another, as Snakemake lays files: sections are merged, lists are replaced."""
    merged = dict(base)
    for key, value in other.items():
        merged[key] = over(base.get(key, {}), value) if isinstance(value, dict) else value
    return merged


def _with_defaults(kind: Any) -> Any:
    """A validator that fills in defaults before it checks a level."""
    check = kind.VALIDATORS["properties"]

    def fill(validator: Any, properties: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if isinstance(instance, dict):
            for key, entry in properties.items():
                if "default" in entry and key not in instance:
                    instance[key] = json.loads(json.dumps(entry["default"]))
        yield from check(validator, properties, instance, schema)

    extend: Any = validators.extend
    return extend(kind, {"properties": fill})


def settle(config: Mapping[str, Any], schema: Mapping[str, Any], where: str = "config") -> Config:
    """A copy with all defaults, keys in the schema's order, checked key by key and across keys.

    Raises:
        QuantaError: a key is unknown (the nearest known one is named), of a wrong type, or at odds with another.
    """
    settled: Config = json.loads(json.dumps(config))
    errors = sorted(
        _with_defaults(Draft202012Validator)(schema).iter_errors(settled), key=lambda e: list(e.absolute_path)
    )
    for error in errors:
        raise _explained(error, where)
    settled = _ordered(settled, schema)
    for place in checks.PATHS:
        *sections, key = place.split(".")
        section = reduce(dict.__getitem__, sections, settled)
        if (section.get(key) or "").startswith("~"):  # as a shell reads a path: who opens it does not know ~
            section[key] = str(Path(section[key]).expanduser())
    folder = settled["models"]["folder"]
    if settled["models"]["source"] == "folder" and folder["final_step"] == "auto":
        folder["final_step"] = members.found_final_step(settled)
    checks.check_across(settled)
    return settled


def _ordered(value: Any, schema: Mapping[str, Any]) -> Any:
    """Keys in the schema's order: Snakemake reruns a rule whose param is a dictionary in another order."""
    if isinstance(value, dict) and "properties" in schema:
        return {key: _ordered(value[key], entry) for key, entry in schema["properties"].items() if key in value}
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        return [_ordered(item, schema["items"]) for item in value]
    return value


def _explained(error: ValidationError, where: str) -> QuantaError:
    key = ".".join(str(part) for part in error.absolute_path) or "(top level)"
    place = f"{where}, key {key}"
    if error.validator == "additionalProperties":
        schema: Any = error.schema
        instance: Any = error.instance
        known = list(schema["properties"])
        for name in instance:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
                mend = f"write {near[0]!r}" if near else "take it out"
                full = name if key == "(top level)" else f"{key}.{name}"
                return QuantaError(f"{where}, key {full}", "unknown key", f"one of {', '.join(known)}", mend)
    description = error.schema.get("description", "") if isinstance(error.schema, dict) else ""
    expected = {
        "type": f"a value of type {error.validator_value}",
        "enum": f"one of {error.validator_value}",
        "minItems": f"at least {error.validator_value} entries",
        "maxItems": f"at most {error.validator_value} entries",
        "minimum": f"at least {error.validator_value}",
        "maximum": f"at most {error.validator_value}",
        "exclusiveMinimum": f"more than {error.validator_value}",
        "pattern": f"a text that matches {error.validator_value}",
        "required": f"the keys {error.validator_value}",
    }.get(str(error.validator), error.message)
    mend = f"change the value. {description}".strip()
    if error.validator == "type" and isinstance(error.instance, str):
        # Snakemake reads what stands within braces on its command line as text, numbers too
        mend = f"write it without quotation marks, in a file for --configfile and not after --config. {description}".strip()
    return QuantaError(place, f"{error.instance!r}", expected, mend)
