"""Generate the configuration reference from the pydantic models: keys, value types, defaults and descriptions."""

import ast
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from inspect import cleandoc, getsource
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import AfterValidator, BaseModel
from pydantic.fields import FieldInfo

from callarchive.settings import Secret, Settings
from callarchive.settings import values as kinds

_HEAD = """\
# Settings reference (callarchive.toml)

The configuration is one file, `callarchive.toml`, in the working directory or at the path in `CALLARCHIVE_CONFIG` or
`--config`. An unknown key, an invalid value or a missing secret is an error that names the key, before anything is contacted.
`callarchive doctor` checks the rest.

- Relative paths are relative to the file.
- **Secrets are never in the file:** `{ env = "NAME" }` refers to an environment variable, `{ file = "path" }` to a file that
  contains only the secret. A `.env` next to the configuration supplies variables that the environment lacks.
- Any value can also be set in the environment: `CALLARCHIVE_TRANSFER__CONCURRENCY=32`,
  `CALLARCHIVE_ACCOUNTS__0__API_URL=...` (numbers are list indexes, starting at 0).
- AWS credentials come from the usual chain: profile, role, `AWS_ACCESS_KEY_ID`, ...
"""

_OF_VALIDATORS = {
    kinds.store_url: "a path, `file:///path` or `s3://bucket/prefix`",
    kinds.landing_url: "`s3://bucket/prefix` or `sftp://user@host:port/path`",
    kinds.http_url: "an http(s) URL",
    kinds.database_url: "a database URL",
    kinds.inbox_url: "`sqlite:///path` or `postgresql://user@host/database`",
    kinds.address_range: "an address, a network, or one of " + ", ".join(f"`{name}`" for name in kinds.EIGHT_BY_EIGHT),
    kinds.mail_address: "a mail address",
    kinds.absolute_path: "a path",
}
_OF_TYPES = {
    str: "text",
    bool: "`true` or `false`",
    int: "a whole number",
    float: "a number",
    Decimal: "a number",
    date: "a date",
    Path: "a path",
}


def settings_page() -> str:
    """Return the page as Markdown.

    Raises:
        ValueError: A key has no description.
    """
    return "\n".join([_HEAD, *_sections("", Settings, title="Top level")])


def _sections(key: str, model: type[BaseModel], *, title: str) -> Iterator[str]:
    """Yield a table of the section's own keys, then its subsections."""
    yield f"## {title}\n"
    if key:
        yield cleandoc(model.__doc__ or "") + "\n"
    meanings = meanings_of(model)
    rows = []
    inner = []
    for name, field in model.model_fields.items():
        sections = [found for found in _models_in(field.annotation) if found is not Secret]
        if sections:
            inner.append((name, field, sections))
            continue
        if name not in meanings:
            raise ValueError(f"{model.__name__}.{name} has no description below it")
        rows.append(f"| `{name}` | {_kind(field)} | {_default(field)} | {meanings[name]} |")
    if rows:
        yield "\n".join(("| key | value | default | description |", "|---|---|---|---|", *rows)) + "\n"
    for name, field, sections in inner:
        path = f"{key}.{name}" if key else name
        is_list = get_origin(field.annotation) is tuple
        for section in sections:
            yield from _sections(path, section, title=_title(path, section, is_list=is_list))


def meanings_of(model: type[BaseModel]) -> dict[str, str]:
    """Return the description of each key: the string below its field in the class or one of its bases."""
    meanings: dict[str, str] = {}
    for base in reversed(model.mro()[: model.mro().index(BaseModel)]):
        (definition,) = ast.parse(dedent(getsource(base))).body
        assert isinstance(definition, ast.ClassDef)
        for field, below in pairwise(definition.body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    meanings[name] = " ".join(text.split())
    return meanings


def _title(path: str, model: type[BaseModel], *, is_list: bool) -> str:
    """Return the section's TOML header; for a section with several kinds, with the line that selects this one."""
    name = f"`[[{path}]]`" if is_list else f"`[{path}]`"
    kind = model.model_fields.get("kind")
    return name if kind is None else f'{name} with `kind = "{get_args(kind.annotation)[0]}"`'


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _kind(field: FieldInfo) -> str:
    words = _type_name(field.annotation, field.metadata)
    bounds = []
    for limit in field.metadata:
        for sign, name in ((">", "gt"), ("≥", "ge"), ("<", "lt"), ("≤", "le")):
            bound = getattr(limit, name, None)
            if isinstance(limit, annotated_types.BaseMetadata) and bound is not None:
                bounds.append(f"{sign} {bound:,}")
    return ", ".join([words, *bounds])


def _type_name(annotation: Any, metadata: Any = ()) -> str:
    """Describe the type of value."""
    known = [_OF_VALIDATORS[m.func] for m in metadata if isinstance(m, AfterValidator) and m.func in _OF_VALIDATORS]
    if known:
        return known[0]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_name(inner[0], inner[1:])
    if origin is Literal:
        return " or ".join(f'`"{value}"`' for value in inner)
    if origin is tuple:
        return f"a list, each {_type_name(inner[0])}"
    if origin in (Union, UnionType):
        return ", or ".join(_type_name(one) for one in inner if one is not NoneType)
    if annotation is Secret:
        return "a secret"
    return _OF_TYPES.get(annotation, str(annotation))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return "`[]`" if not value else ", ".join(f"`{one}`" for one in value)
    return f'`"{value}"`' if isinstance(value, str) else f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
