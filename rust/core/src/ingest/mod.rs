//! (under construction)
pub mod names;
pub mod ranges;
