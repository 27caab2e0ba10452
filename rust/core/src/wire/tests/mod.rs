//! Tests of the wire as a whole: both halves together, and against other implementations.

mod round_trip;
