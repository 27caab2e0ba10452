"""What one identity may send: the `quotas` section."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from telemetry_collector.config.section import Section, Text

MIB = 1024**2

Bound = Annotated[int, Field(ge=1, le=10**12)] | None
"""A bound on what is sent; null for none."""


class Quota(Section):
    """What one identity may send, over all its connections."""

    batches_per_sec: Bound = Field(1_000, description="batches a second, or null for no bound")
    points_per_sec: Bound = Field(100_000, description="points a second, or null for no bound")
    bytes_per_sec: Bound = Field(16 * MIB, description="bytes a second, of frames when inflated, or null for no bound")
    series: Bound = Field(20_000, description="active series that it brought, or null for no bound")


class QuotaOverride(Quota):
    """What some identities may send instead. A key that is left out is as in `default`."""

    identities: tuple[Text, ...] = Field(min_length=1, description="patterns of identities, at least one")


class Quotas(Section):
    """Everybody's quota."""

    default: Quota = Field(Quota(), description="what each identity may send")
    overrides: tuple[QuotaOverride, ...] = Field(
        (), description="what identities may send that a pattern fits; the first that fits wins"
    )

    @model_validator(mode="after")
    def _inherit(self) -> Self:
        default = self.default.model_dump()
        filled = (one.model_copy(update={**default, **one.model_dump(exclude_unset=True)}) for one in self.overrides)
        return self.model_copy(update={"overrides": tuple(filled)})
