//! `BatchAck`: the answer to a batch, written by the collector and read by the sender.

use super::codes::{Outcome, Reason};
use super::frame::{FrameReader, FrameTooLarge, PREFIX_BYTES};
use super::proto::{LENGTH, Reader, VARINT, WireFault, key, put_bytes, put_number, put_text};

/// A longer example of a refusal is cut off, so that answers stay small.
pub const EXAMPLE_BYTES_MAX: usize = 512;
/// A reader takes no larger answer. The largest that the collector writes, every reason with its example, is a tenth.
pub const ACK_BYTES_MAX: usize = 64 * 1024;

/// The answer to one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchAck {
    /// The batch's sequence; 0 for a malformed one that did not get so far.
    pub sequence: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// Points on stable storage.
    pub accepted_points: u32,
    /// Points refused for good.
    pub rejected_points: u32,
    /// One a reason.
    pub rejections: Vec<Rejection>,
    /// The most batches that the stream may have unacknowledged from now on; at least 1.
    pub credit: u32,
    /// With [`Outcome::RetryLater`]: how long to wait; 0 means 100 ms.
    pub retry_after_ms: u32,
}

/// Points refused for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Why.
    pub reason: Reason,
    /// How many.
    pub points: u32,
    /// One refused metric's name, and what was wrong with it.
    pub example: String,
}

impl BatchAck {
    /// Appends the answer with its length prefix. Of examples, the first [`EXAMPLE_BYTES_MAX`] bytes are kept.
    pub fn write_frame(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; PREFIX_BYTES]);
        put_number(out, 1, self.sequence);
        put_number(out, 2, u64::from(self.outcome.number()));
        put_number(out, 3, u64::from(self.accepted_points));
        put_number(out, 4, u64::from(self.rejected_points));
        let mut message = Vec::new();
        for rejection in &self.rejections {
            message.clear();
            put_number(&mut message, 1, u64::from(rejection.reason.number()));
            put_number(&mut message, 2, u64::from(rejection.points));
            put_text(&mut message, 3, beginning(&rejection.example));
            put_bytes(out, 5, &message);
        }
        put_number(out, 6, u64::from(self.credit));
        put_number(out, 7, u64::from(self.retry_after_ms));
        let len = (out.len() - start - PREFIX_BYTES) as u32;
        out[start..start + PREFIX_BYTES].copy_from_slice(&len.to_be_bytes());
    }

    /// Reads the answer in a frame. An outcome that this version does not know is [`Outcome::RetryLater`], such a reason
    /// [`Reason::Unspecified`]; an example that is not UTF-8 is read with replacement characters.
    ///
    /// # Errors
    /// [`WireFault`] when the bytes are no protobuf message.
    pub fn read(frame: &[u8]) -> Result<Self, WireFault> {
        const SEQUENCE: u32 = key(1, VARINT);
        const OUTCOME: u32 = key(2, VARINT);
        const ACCEPTED_POINTS: u32 = key(3, VARINT);
        const REJECTED_POINTS: u32 = key(4, VARINT);
        const REJECTIONS: u32 = key(5, LENGTH);
        const CREDIT: u32 = key(6, VARINT);
        const RETRY_AFTER_MS: u32 = key(7, VARINT);

        let mut ack = Self {
            sequence: 0,
            outcome: Outcome::RetryLater,
            accepted_points: 0,
            rejected_points: 0,
            rejections: Vec::new(),
            credit: 0,
            retry_after_ms: 0,
        };
        let mut reader = Reader::new(frame);
        while let Some(key) = reader.key()? {
            match key {
                SEQUENCE => ack.sequence = reader.varint()?,
                OUTCOME => {
                    let number = reader.varint()? & u64::from(u32::MAX);
                    ack.outcome = Outcome::from_wire(number).unwrap_or(Outcome::RetryLater);
                }
                ACCEPTED_POINTS => ack.accepted_points = reader.varint()? as u32,
                REJECTED_POINTS => ack.rejected_points = reader.varint()? as u32,
                REJECTIONS => ack.rejections.push(Rejection::read(reader.message()?)?),
                CREDIT => ack.credit = reader.varint()? as u32,
                RETRY_AFTER_MS => ack.retry_after_ms = reader.varint()? as u32,
                _ => reader.skip(key)?,
            }
        }
        ack.credit = ack.credit.max(1);
        Ok(ack)
    }
}

impl Rejection {
    fn read(mut reader: Reader<'_>) -> Result<Self, WireFault> {
        const REASON: u32 = key(1, VARINT);
        const POINTS: u32 = key(2, VARINT);
        const EXAMPLE: u32 = key(3, LENGTH);

        let mut rejection = Self { reason: Reason::Unspecified, points: 0, example: String::new() };
        while let Some(key) = reader.key()? {
            match key {
                REASON => {
                    let number = reader.varint()? & u64::from(u32::MAX);
                    rejection.reason = Reason::from_wire(number).unwrap_or(Reason::Unspecified);
                }
                POINTS => rejection.points = reader.varint()? as u32,
                EXAMPLE => {
                    let text = reader.span()?.of(reader.body());
                    rejection.example = String::from_utf8_lossy(text).into_owned();
                }
                _ => reader.skip(key)?,
            }
        }
        Ok(rejection)
    }
}

/// The first characters of a text, [`EXAMPLE_BYTES_MAX`] bytes at most.
fn beginning(text: &str) -> &str {
    let end = (0..=EXAMPLE_BYTES_MAX.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

/// Bytes from a collector that are no answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AckError {
    /// The length prefix makes no sense.
    #[error("a reply is {0}")]
    Frame(#[from] FrameTooLarge),
    /// The frame is no protobuf message.
    #[error("a reply is not a BatchAck: {0}")]
    Message(#[from] WireFault),
}

/// Splits a stream's received bytes into answers. Holds at most [`ACK_BYTES_MAX`] bytes of one that is not whole yet.
#[derive(Debug)]
pub struct AckReader {
    frames: FrameReader,
    fault: Option<AckError>,
}

impl Default for AckReader {
    fn default() -> Self {
        Self { frames: FrameReader::new(ACK_BYTES_MAX), fault: None }
    }
}

impl AckReader {
    /// Takes the stream's next bytes; returns the answers that are whole now, in order.
    ///
    /// # Errors
    /// [`AckError`], from then on at every call. Answers that stood before the fault in the same bytes are lost with it:
    /// their batches are sent again under the same names.
    pub fn feed(&mut self, mut data: &[u8]) -> Result<Vec<BatchAck>, AckError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        self.read_all(&mut data).inspect_err(|&fault| self.fault = Some(fault))
    }

    fn read_all(&mut self, data: &mut &[u8]) -> Result<Vec<BatchAck>, AckError> {
        let mut acks = Vec::new();
        while let Some(frame) = self.frames.next(data)? {
            acks.push(BatchAck::read(frame)?);
        }
        Ok(acks)
    }
}
