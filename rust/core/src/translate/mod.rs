//! Requests of other protocols, written as batches of our own.
//!
//! ```text
//! OTLP, line protocol, remote write ─► unpack (gzip, …) ─► translate ─► Batches: frames in row form
//!                                                                           │
//!                                                       Ingest::take ─► judge ─► journal ─► Request
//! ```
//!
//! Every other door leads into the same one: what comes out is frames as an agent would have sent them, so limits,
//! identities, refusals and the journal's records need no second way. Writing a row and reading it again costs some tens
//! of nanoseconds a point, a tenth of what receiving a point over HTTP or gRPC does.

mod batches;
pub mod exposition;
pub mod influx;
pub mod otlp;
pub mod prometheus;
mod renames;
#[cfg(test)]
mod tests;
pub mod unpack;

pub use self::batches::{Batches, BatchesMax, Kind, Left, LineFault, Translated};
use self::influx::Precision;
pub use self::renames::Renames;
pub use self::unpack::Encoding;
use crate::limits::Limits;
use crate::wire::proto::WireFault;

/// How a request's body is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// An OTLP `ExportMetricsServiceRequest` in protobuf.
    Otlp(otlp::Ignored),
    /// The same in JSON.
    OtlpJson(otlp::Ignored),
    /// `InfluxDB` line protocol.
    Influx(Precision, Renames),
    /// A page of a target, in Prometheus' text format or `OpenMetrics`.
    Exposition(exposition::Syntax, exposition::Target),
    /// Prometheus' remote write, version 1.
    Prometheus(Renames),
}

/// Unpacks a request and writes it as frames.
///
/// # Errors
/// [`RequestFault`]: the request is refused whole.
pub fn translate(form: &Form, encoding: Encoding, body: &[u8], limits: &Limits) -> Result<Translated, RequestFault> {
    let body = &*encoding.unpack(body, limits.inflated_bytes_max)?;
    let mut batches = Batches::new(limits.into());
    match form {
        Form::Otlp(ignored) => otlp::translate(body, ignored, &mut batches)?,
        Form::OtlpJson(ignored) => otlp::translate(&otlp::json::metrics_request(body)?, ignored, &mut batches)?,
        Form::Influx(precision, renames) => influx::translate(body, *precision, renames, &mut batches),
        Form::Exposition(syntax, target) => exposition::translate(body, *syntax, target, &mut batches)?,
        Form::Prometheus(renames) => prometheus::translate(body, renames, &mut batches)?,
    }
    batches.finish()
}

/// Why a request is refused whole. The texts are what its sender gets to read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestFault {
    /// Not the message that it should be.
    #[error("not {what}: {fault}")]
    Wire {
        /// The message's name.
        what: &'static str,
        /// What is wrong with its bytes.
        fault: WireFault,
    },
    /// Not the page that it says it is.
    #[error("not a page of OpenMetrics: {0}")]
    Page(&'static str),
    /// Not the JSON that it should be.
    #[error("{0}")]
    Json(String),
    /// Damaged or of another format.
    #[error("the body is not {0}, though Content-Encoding says so")]
    NotEncoded(&'static str),
    /// A format that is not known here.
    #[error("Content-Encoding {0:?} is not known here; identity, gzip, deflate, zstd and snappy are")]
    UnknownEncoding(String),
    /// More bytes than a record of the journal may have.
    #[error("more than {bytes_max} bytes as the journal packs it (journal.segment_bytes); send smaller requests")]
    TooLargePacked {
        /// The limit.
        bytes_max: usize,
    },
    /// More bytes when written as batches than a request may have.
    #[error(
        "its points take more than {bytes_max} bytes as batches, each with all of its tags \
         (an eighth of limits.inflight_bytes_max); expected fewer points or tags in a request"
    )]
    BatchesTooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// More bytes than a request may have.
    #[error("more than {bytes_max} bytes when unpacked (limits.inflated_bytes_max)")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
}
