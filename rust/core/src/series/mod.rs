//! Series: what names one, which are active, and what a stream's ids stand for.

pub mod descriptor;
pub mod dictionary;
pub mod effective;
pub mod invalid;
pub mod key;
pub mod key_batch;
mod meaning;
pub mod offenders;
pub mod owners;
mod references;
pub mod registry;
mod shard;
mod standing;
mod table;
mod text;
mod touches;
pub(crate) mod varint;

pub use descriptor::{Descriptor, DescriptorRef, Meta, MetricType};
pub use dictionary::{Crowd, DefinitionError, Place, RawDefinition, Refusal, StreamDictionary};
pub use effective::{CommonTags, KeyBuilder, NodeClaim, RawTag};
pub use invalid::{InvalidSeries, Rule};
pub use key::{KeyRef, SeriesKey};
pub use key_batch::KeyBatch;
pub use offenders::{Offender, Offenders};
pub use owners::Source;
pub use registry::{CardinalityLimit, DamagedSnapshot, Registry};
pub use text::check_unit;
