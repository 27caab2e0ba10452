//! Why a name, tags, unit or type cannot make a series: the first rule of the contract's table that a point breaks.

use crate::limits;

/// A broken rule, in words that an agent's developer can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSeries {
    /// The name is empty or too long.
    #[error("the name is not 1 to {} bytes long", limits::NAME_BYTES_MAX)]
    NameLength,
    /// The name is not text.
    #[error("the name {0}")]
    NameText(TextFault),
    /// More tags than a point may have.
    #[error("there are more than {} tags", limits::TAGS_MAX)]
    TooManyTags,
    /// A tag's key is empty or too long.
    #[error("a tag's key is not 1 to {} bytes long", limits::TAG_KEY_BYTES_MAX)]
    TagKeyLength,
    /// A tag's key is not text.
    #[error("a tag's key {0}")]
    TagKeyText(TextFault),
    /// A tag's value is empty or too long.
    #[error("a tag's value is not 1 to {} bytes long", limits::TAG_VALUE_BYTES_MAX)]
    TagValueLength,
    /// A tag's value is not text.
    #[error("a tag's value {0}")]
    TagValueText(TextFault),
    /// One list of tags names a key more than once.
    #[error("a tag's key stands twice in one list")]
    TagTwice,
    /// The unit is too long.
    #[error("the unit is longer than {} bytes", limits::UNIT_BYTES_MAX)]
    UnitLength,
    /// The unit is not text.
    #[error("the unit {0}")]
    UnitText(TextFault),
    /// A type that is unknown or that scalar values cannot have.
    #[error("the type does not fit the data or is unknown")]
    Type,
}

/// What keeps bytes from being text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextFault {
    /// A control character, U+0000 to U+001F or U+007F.
    #[error("holds a control character")]
    Control,
    /// Bytes that are not UTF-8.
    #[error("is not UTF-8")]
    Utf8,
}

/// The row of the contract's table that a fault belongs to, in the order in which they are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// `INVALID_NAME`.
    Name,
    /// `INVALID_TAG`; units are judged with the tags.
    Tag,
    /// `INVALID_VALUE`.
    Value,
}

impl InvalidSeries {
    /// The row of the contract's table.
    #[must_use]
    pub fn rule(self) -> Rule {
        match self {
            Self::NameLength | Self::NameText(_) => Rule::Name,
            Self::Type => Rule::Value,
            _ => Rule::Tag,
        }
    }
}
