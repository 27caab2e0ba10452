"""The API's description as a page to read. It is whole in itself: no scripts, and nothing from anywhere else."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #1b1f24; background: #fff; }
h2 { margin-top: 2rem; border-top: 1px solid #d0d7de; padding-top: 1rem; }
code, pre { font: 14px/1.5 ui-monospace, monospace; background: #f0f2f5; padding: .1rem .3rem; border-radius: .3rem; }
pre { padding: .7rem; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #d0d7de; }
@media (prefers-color-scheme: dark) {
  body { color: #e6e8eb; background: #15181c; } code, pre { background: #262b31; } a { color: #8ab4f8; }
  td, th, h2 { border-color: #3a4048; }
}
"""


def page(document: Mapping[str, Any]) -> str:
    """An OpenAPI document as HTML. It shows what our own document has, not all that OpenAPI could say."""
    info = document["info"]
    title = escape(f"{info['title']} {info['version']}")
    paths = "\n".join(_path(path, item) for path, item in document["paths"].items())
    schemas = "\n".join(_schema(name, schema) for name, schema in document["components"]["schemas"].items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>{_STYLE}</style></head><body>
<h1>{title}</h1>
<p>{escape(info["description"])} For programs: <a href="openapi.json">openapi.json</a>.</p>
{paths}
{schemas}
</body></html>
"""


def _path(path: str, item: Mapping[str, Any]) -> str:
    operation = item["get"]
    rows = "".join(
        f"<tr><td><code>{escape(parameter['name'])}</code></td><td>{escape(parameter['description'])}</td></tr>"
        for parameter in item.get("parameters", ())
    )
    answers = "".join(
        f"<tr><td>{_status(status)}</td><td>{escape(answer['description'])} {_kind(_content(answer))}</td></tr>"
        for status, answer in operation["responses"].items()
    )
    example = path
    for parameter in item.get("parameters", ()):
        example = example.replace(f"{{{parameter['name']}}}", parameter["example"])
    return (
        f"<h2><code>GET {escape(path)}</code></h2><p>{escape(operation['summary'])}.</p>"
        f"<table>{rows}{answers}</table><pre>curl http://127.0.0.1:8080{escape(example)}</pre>"
    )


def _status(status: str) -> str:
    return "other" if status == "default" else escape(status)


def _content(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    schema: Mapping[str, Any] = answer["content"]["application/json"]["schema"]
    return schema


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(key)}</code></td><td>{_kind(field)}</td>"
        f"<td>{escape(field.get('description', ''))}</td></tr>"
        for key, field in schema["properties"].items()
    )
    about = f"<p>{escape(schema['description'])}</p>" if "description" in schema else ""
    return f'<h2 id="{escape(name)}">{escape(name)}</h2>{about}<table>{rows}</table>'


def _kind(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_kind(schema['additionalProperties'])} by name"
    return escape(str(schema.get("type", "object")))
