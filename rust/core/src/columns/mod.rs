//! Admitted points in columns: the block that a batch becomes, its bytes in the journal, and its Arrow form.

pub mod block;

pub use block::{Distribution, Histogram, PointBlock, Quantile, Summary};
