"""In which keys two configurations differ, and one with some values of the other."""

from collections.abc import Collection, Mapping

from telemetry_collector.config.section import Section


def changes(old: Mapping[str, Section], new: Mapping[str, Section]) -> tuple[str, ...]:
    """The keys whose values differ, as `limits.max_batch_size`, in the order of `new`; a section that only one of them
    has by its name alone. Names only: a value may be a secret."""
    found: list[str] = []
    for name in (*new, *(name for name in old if name not in new)):
        if name not in old or name not in new or type(old[name]) is not type(new[name]):
            found.append(name)
            continue
        keys = type(new[name]).model_fields
        found += (f"{name}.{key}" for key in keys if getattr(old[name], key) != getattr(new[name], key))
    return tuple(found)


def keeping(keys: Collection[str], old: Mapping[str, Section], new: Mapping[str, Section]) -> dict[str, Section]:
    """The new sections, but with the old values of these keys; a key names a value of a section that both have."""
    kept: dict[str, dict[str, object]] = {}
    for dotted in keys:
        name, _, key = dotted.partition(".")
        kept.setdefault(name, {})[key] = getattr(old[name], key)
    return {name: section.model_copy(update=kept.get(name)) for name, section in new.items()}
