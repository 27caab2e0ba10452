//! Frames that were encoded before, to be sent under any name: names stand outside the body that is compressed.

use bytes::Bytes;

use crate::wire::frame::PREFIX_BYTES;
use crate::wire::proto::{FIXED64, Reader, VARINT, WireFault, key, put_fixed64, put_number};

const SEQUENCE: u32 = key(1, VARINT);
const EPOCH: u32 = key(2, FIXED64);
const OLDEST_UNACKNOWLEDGED: u32 = key(9, VARINT);

/// Bytes that are no frame with its length prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAFrame {
    /// The prefix does not say how many bytes follow.
    #[error("{bytes} bytes are no frame: expected a length prefix and as many bytes as it says")]
    Length {
        /// How many there were.
        bytes: usize,
    },
    /// No message.
    #[error("a frame holds no MetricBatch: {0}")]
    Message(#[from] WireFault),
    /// Nothing to send over and over.
    #[error("an agent needs at least one frame that is sent over and over")]
    NoCycle,
}

/// An agent's frames without their names.
#[derive(Debug)]
pub(super) struct Prepared {
    opening: Vec<Bytes>,
    cycle: Vec<Bytes>,
}

impl Prepared {
    pub(super) fn new(opening: &[Vec<u8>], cycle: &[Vec<u8>]) -> Result<Self, NotAFrame> {
        if cycle.is_empty() {
            return Err(NotAFrame::NoCycle);
        }
        let nameless = |frames: &[Vec<u8>]| frames.iter().map(|frame| nameless(frame)).collect::<Result<Vec<_>, _>>();
        Ok(Self { opening: nameless(opening)?, cycle: nameless(cycle)? })
    }

    /// A frame's two parts under a name: the prefix with the name, and the rest.
    pub(super) fn frame(&self, sequence: u64, epoch: u64, oldest: u64) -> [Bytes; 2] {
        let place = sequence as usize - 1;
        let body = self.opening.get(place).unwrap_or_else(|| {
            let turn = (place - self.opening.len()) % self.cycle.len();
            &self.cycle[turn]
        });
        let mut head = vec![0; PREFIX_BYTES];
        put_number(&mut head, 1, sequence);
        put_fixed64(&mut head, 2, epoch);
        put_number(&mut head, 9, oldest);
        let bytes = (head.len() - PREFIX_BYTES + body.len()) as u32;
        head[..PREFIX_BYTES].copy_from_slice(&bytes.to_be_bytes());
        [head.into(), body.clone()]
    }
}

/// A frame's message without the fields that name it.
fn nameless(frame: &[u8]) -> Result<Bytes, NotAFrame> {
    let message = match frame.split_first_chunk::<PREFIX_BYTES>() {
        Some((prefix, message)) if u32::from_be_bytes(*prefix) as usize == message.len() => message,
        _ => return Err(NotAFrame::Length { bytes: frame.len() }),
    };
    let mut rest = Vec::with_capacity(message.len());
    let mut reader = Reader::new(message);
    loop {
        let start = reader.position();
        let Some(key) = reader.key()? else { break };
        reader.skip(key)?;
        if !matches!(key, SEQUENCE | EPOCH | OLDEST_UNACKNOWLEDGED) {
            rest.extend_from_slice(&message[start..reader.position()]);
        }
    }
    Ok(rest.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{BatchName, EncoderSettings, FrameEncoder, OutgoingBatch, OutgoingSeries};

    fn encoded(name: BatchName, encoder: &mut FrameEncoder) -> Vec<u8> {
        let series = OutgoingSeries {
            name: "load".into(),
            tags: vec![("place".into(), "7".into())],
            metric_type: 2,
            unit: "".into(),
            delta: false,
        };
        let batch = OutgoingBatch::new(Vec::new(), vec![series], vec![0], vec![5], vec![1.5]).expect("whole");
        let mut frame = Vec::new();
        encoder.frame(Some(&batch), name, None, &mut frame).expect("it fits");
        frame
    }

    /// A frame's fields in an order of their own, since that of the wire means nothing.
    fn fields(frame: &[u8]) -> Vec<&[u8]> {
        let message = &frame[PREFIX_BYTES..];
        let mut reader = Reader::new(message);
        let mut fields = Vec::new();
        while !reader.at_end() {
            let start = reader.position();
            let key = reader.key().expect("a field").expect("not at the end");
            reader.skip(key).expect("whole");
            fields.push(&message[start..reader.position()]);
        }
        fields.sort_unstable();
        fields
    }

    #[test]
    fn a_frame_under_another_name_is_what_the_encoder_would_have_made() {
        let encoder = || FrameEncoder::new(EncoderSettings::default()).expect("memory");
        let old = BatchName { sequence: 99, epoch: 3, oldest_unacknowledged: 98 };
        let mut first = encoder();
        let frames = [encoded(old, &mut first), encoded(old, &mut first)];
        let prepared = Prepared::new(&frames[..1], &frames[1..]).expect("frames");
        let mut again = encoder();
        for sequence in 1..=4 {
            let name = BatchName { sequence, epoch: 12, oldest_unacknowledged: 1 };
            let expected = encoded(name, &mut again);
            let made = prepared.frame(sequence, 12, 1).concat();
            assert_eq!(made[..PREFIX_BYTES], expected[..PREFIX_BYTES]);
            assert_eq!(fields(&made), fields(&expected));
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let whole = vec![0, 0, 0, 2, 8, 1];
        assert!(Prepared::new(&[], std::slice::from_ref(&whole)).is_ok());
        assert_eq!(Prepared::new(&[], &[whole[..5].to_vec()]).err(), Some(NotAFrame::Length { bytes: 5 }));
        assert_eq!(
            Prepared::new(&[vec![0, 0, 0, 1, 8]], &[whole]).err(),
            Some(NotAFrame::Message(WireFault::Truncated))
        );
        assert_eq!(Prepared::new(&[], &[]).err(), Some(NotAFrame::NoCycle));
    }
}
