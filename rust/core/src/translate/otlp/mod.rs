//! The OpenTelemetry protocol: requests of its metrics service as batches, and what its other services share with it.
//!
//! A data point becomes a point: its attributes are its tags, the resource's attributes too where no nearer one has the
//! same key. Gauges and sums that are not monotonic are gauges, monotonic sums are counters, of delta temporality where
//! they say so. Exponential histograms become explicit buckets.

mod attributes;
mod exponential;
pub mod json;
mod metrics;
mod schema;
#[cfg(test)]
mod tests;
pub(crate) mod value;

pub use self::attributes::Ignored;
pub(crate) use self::attributes::STANDARD_TAGS;
pub use self::metrics::translate;
