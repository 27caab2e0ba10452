//! Admitted points in columns: the block that a batch becomes, its bytes in the journal, and its Arrow form.

pub mod arrow;
pub mod block;
pub mod builder;
pub mod codec;
mod descriptor_table;
mod generations;
mod series_list;
#[cfg(test)]
pub(crate) mod testing;

pub use arrow::{ArrowAssembler, TimestampUnit};
pub use block::{Distribution, Histogram, PointBlock, Quantile, SharedSeries, Summary};
pub use builder::{BatchHeader, BlockBuilder};
pub use codec::{BlockDecoder, BlockEncoder, DecodeError, EncodeError};
pub(crate) use descriptor_table::{DescriptorTable, address_hash};
pub(crate) use generations::Generations;
