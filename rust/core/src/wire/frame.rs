//! Splits a stream's bytes into frames: a 4-byte big-endian length N, then N bytes.
//!
//! A frame that lies whole inside the bytes just received is handed out where it stands. Only one that spans several
//! receipts is gathered, in a buffer that grows with the bytes received and never with the length announced.

/// Bytes of the length prefix.
pub const PREFIX_BYTES: usize = 4;

/// A gathering buffer above this size is given back when its frame is done: thousands of streams may be open, and what one
/// needs for its first frame, which defines its series, it hardly needs again.
const RETAINED_BYTES_MAX: usize = 1024;

/// What is kept of a frame whose body was given up: enough for the fields that name it.
const HEAD_BYTES: usize = 64;

/// A frame of length 0 or over the limit. The stream cannot be read on: the reader stays in this state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {declared} bytes; 1 to {bytes_max} are allowed")]
pub struct FrameTooLarge {
    /// The length that the prefix announced.
    pub declared: u32,
    /// The limit.
    pub bytes_max: usize,
}

/// The receiving half of one stream.
#[derive(Debug)]
pub struct FrameReader {
    bytes_max: usize,
    prefix: [u8; PREFIX_BYTES],
    prefix_len: usize,
    /// The body gathered so far; `done` when it was handed out and is to be cleared.
    gathered: Vec<u8>,
    done: bool,
    /// Bytes of the frame that were counted and not kept; None while everything is kept.
    shed: Option<usize>,
    fault: Option<FrameTooLarge>,
}

impl FrameReader {
    /// A reader of frames of at most `bytes_max` bytes, prefix not counted.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            prefix: [0; PREFIX_BYTES],
            prefix_len: 0,
            gathered: Vec::new(),
            done: false,
            shed: None,
            fault: None,
        }
    }

    /// The next whole frame, without its prefix. Takes bytes off the front of `input`; call it with what is left until it
    /// returns `None`, which means that all was taken and more is needed.
    ///
    /// # Errors
    /// [`FrameTooLarge`], from then on at every call.
    pub fn next<'frame, 'input: 'frame>(
        &'frame mut self,
        input: &mut &'input [u8],
    ) -> Result<Option<&'frame [u8]>, FrameTooLarge> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        self.forget_done();
        if !self.take_prefix(input) {
            return Ok(None);
        }
        let declared = u32::from_be_bytes(self.prefix);
        let len = declared as usize;
        if len == 0 || len > self.bytes_max {
            let fault = FrameTooLarge { declared, bytes_max: self.bytes_max };
            self.fault = Some(fault);
            self.gathered = Vec::new();
            return Err(fault);
        }
        if self.gathered.is_empty() && self.shed.is_none() && input.len() >= len {
            self.prefix_len = 0;
            return Ok(input.split_off(..len));
        }
        let missing = len - self.gathered.len() - self.shed.unwrap_or(0);
        let taken = input.split_off(..missing.min(input.len())).unwrap_or_default();
        match &mut self.shed {
            Some(bytes) => *bytes += taken.len(),
            None => self.gathered.extend_from_slice(taken),
        }
        if taken.len() < missing {
            return Ok(None);
        }
        self.prefix_len = 0;
        self.done = true;
        Ok(Some(&self.gathered))
    }

    /// Another limit from the next frame on: one that has begun was allowed.
    pub fn limit(&mut self, bytes_max: usize) {
        if !self.mid_frame() {
            self.bytes_max = bytes_max;
        }
    }

    /// True when a frame has begun and not ended.
    #[must_use]
    pub fn mid_frame(&self) -> bool {
        self.fault.is_none() && self.prefix_len > 0
    }

    /// Gives up the body of the frame that is being gathered, for memory that is needed elsewhere: its beginning is kept
    /// and the rest only counted, so that the stream stays in step. Does nothing between frames.
    pub fn shed(&mut self) {
        if self.mid_frame() && !self.done && self.shed.is_none() {
            let given_up = self.gathered.len().saturating_sub(HEAD_BYTES);
            self.gathered.truncate(HEAD_BYTES);
            self.gathered.shrink_to_fit();
            self.shed = Some(given_up);
        }
    }

    /// True when the frame under way was shed: what [`FrameReader::next`] hands out of it is only its beginning.
    #[must_use]
    pub fn sheds(&self) -> bool {
        !self.done && self.shed.is_some()
    }

    /// Bytes held for a frame that has begun.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        if self.done { 0 } else { self.prefix_len + self.gathered.len() }
    }

    fn take_prefix(&mut self, input: &mut &[u8]) -> bool {
        let wanted = (PREFIX_BYTES - self.prefix_len).min(input.len());
        if let Some(taken) = input.split_off(..wanted) {
            self.prefix[self.prefix_len..self.prefix_len + wanted].copy_from_slice(taken);
            self.prefix_len += wanted;
        }
        self.prefix_len == PREFIX_BYTES
    }

    fn forget_done(&mut self) {
        if self.done {
            self.done = false;
            self.shed = None;
            self.gathered.clear();
            if self.gathered.capacity() > RETAINED_BYTES_MAX {
                self.gathered = Vec::new();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32).to_be_bytes()[..], body].concat()
    }

    #[test]
    fn a_whole_frame_in_one_receipt_is_not_copied() {
        let bytes = framed(b"abc");
        let mut reader = FrameReader::new(3);
        let mut input = &bytes[..];
        let frame = reader.next(&mut input).expect("within the limit").expect("whole");
        assert_eq!(frame.as_ptr(), bytes[4..].as_ptr());
        assert!(input.is_empty());
        assert_eq!((reader.mid_frame(), reader.gathered.capacity()), (false, 0));
    }

    #[test]
    fn a_length_of_zero_or_over_the_limit_ends_the_stream() {
        for (declared, input) in [(0, &[0, 0, 0, 0][..]), (4, &[0, 0, 0, 4, 1, 2, 3, 4]), (u32::MAX, &[255; 4])] {
            let mut reader = FrameReader::new(3);
            let fault = FrameTooLarge { declared, bytes_max: 3 };
            assert_eq!(reader.next(&mut &input[..]), Err(fault));
            assert_eq!(reader.next(&mut &framed(b"abc")[..]), Err(fault), "it stays so");
            assert!(!reader.mid_frame());
        }
    }

    #[test]
    fn memory_grows_with_the_bytes_received_and_not_with_the_length_announced() {
        let mut reader = FrameReader::new(1 << 30);
        assert_eq!(reader.next(&mut &[0x3f, 0xff, 0xff, 0xff, 1, 2, 3][..]), Ok(None));
        assert!(reader.mid_frame());
        assert_eq!(reader.held_bytes(), 7);
        assert!(reader.gathered.capacity() < 64);
    }

    #[test]
    fn a_shed_frame_costs_no_memory_and_the_next_one_is_whole() {
        let bytes = [framed(&vec![7; 100_000]), framed(b"next")].concat();
        let mut reader = FrameReader::new(100_000);
        assert_eq!(reader.next(&mut &bytes[..50_000]), Ok(None));
        reader.shed();
        assert!(reader.sheds());
        assert!(reader.held_bytes() <= PREFIX_BYTES + HEAD_BYTES);
        let mut rest = &bytes[50_000..];
        assert_eq!(reader.next(&mut rest), Ok(Some(&[7; HEAD_BYTES][..])));
        assert!(!reader.sheds());
        assert_eq!(reader.next(&mut rest), Ok(Some(&b"next"[..])));
    }

    #[test]
    fn a_large_buffer_is_given_back() {
        let bytes = framed(&vec![7; 100_000]);
        let mut reader = FrameReader::new(100_000);
        assert_eq!(reader.next(&mut &bytes[..10]), Ok(None));
        assert_eq!(reader.next(&mut &bytes[10..]).expect("within the limit").map(<[u8]>::len), Some(100_000));
        assert_eq!((reader.mid_frame(), reader.held_bytes()), (false, 0));
        assert_eq!(reader.next(&mut &[][..]), Ok(None));
        assert!(reader.gathered.capacity() <= RETAINED_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn frames_come_out_however_the_stream_is_cut(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..12),
            cuts in prop::collection::vec(1_usize..50, 1..40),
        ) {
            let stream = bodies.iter().flat_map(|body| framed(body)).collect::<Vec<_>>();
            let mut reader = FrameReader::new(40);
            let mut frames = Vec::new();
            let mut rest = &stream[..];
            let mut cut = cuts.iter().cycle();
            while !rest.is_empty() {
                let receipt = (*cut.next().expect("cycles")).min(rest.len());
                let mut input = rest.split_off(..receipt).expect("not beyond the end");
                while let Some(frame) = reader.next(&mut input).expect("within the limit") {
                    frames.push(frame.to_vec());
                }
                prop_assert!(input.is_empty());
            }
            prop_assert!(!reader.mid_frame());
            prop_assert_eq!(frames, bodies);
        }
    }
}
