//! Series: what names one, which are active, and what a stream's ids stand for.

pub mod descriptor;
pub mod key;

pub use descriptor::{Descriptor, MetricType};
pub use key::SeriesKey;
