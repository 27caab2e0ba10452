//! Protobuf's wire format: a bounds-checked reader that hands out positions, and what an encoder writes.
//!
//! The reader takes what protobuf's own decoders take and refuses what they refuse: varints of up to ten bytes, keys and
//! lengths of up to five, groups nested to a bound, unknown fields skipped. It never allocates and reads every byte once.

/// Messages and groups may nest so deep, as in protobuf's own decoders.
pub const DEPTH_MAX: usize = 100;

/// Wire types, the low three bits of a field's key.
pub const VARINT: u32 = 0;
/// Eight bytes.
pub const FIXED64: u32 = 1;
/// A length and so many bytes.
pub const LENGTH: u32 = 2;
const GROUP_START: u32 = 3;
const GROUP_END: u32 = 4;
/// Four bytes.
pub const FIXED32: u32 = 5;

/// The key of a field: its number and wire type.
#[must_use]
pub const fn key(field: u32, wire_type: u32) -> u32 {
    field << 3 | wire_type
}

/// Why bytes are not a protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireFault {
    /// A field goes on after the end of its message.
    #[error("a field reaches beyond the end of its message")]
    Truncated,
    /// A varint of more than ten bytes, or a key or length of more than 32 bits.
    #[error("a number is longer than its kind allows")]
    Overlong,
    /// Field number 0, wire type 6 or 7, or the end of a group that was not begun.
    #[error("a field has an invalid key")]
    InvalidKey,
    /// Groups nested deeper than [`DEPTH_MAX`].
    #[error("groups are nested too deep")]
    TooDeep,
}

/// A part of something longer: of a decoded body (bytes, counted from its first), or of a column of the scratch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// Place of the first element.
    pub start: u32,
    /// Elements.
    pub len: u32,
}

impl Span {
    /// The elements that the span means.
    ///
    /// # Panics
    /// When the span is of another, shorter whole.
    #[must_use]
    #[inline]
    pub fn of<T>(self, whole: &[T]) -> &[T] {
        &whole[self.start as usize..][..self.len as usize]
    }

    #[inline]
    pub(super) fn between(start: usize, end: usize) -> Self {
        Self { start: start as u32, len: (end - start) as u32 }
    }
}

/// Walks one message. Bodies are of at most `u32::MAX` bytes, which the frame's own length prefix assures.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// The body up to the message's end, so that positions are those of the body.
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// Reads a whole body.
    #[must_use]
    pub fn new(body: &'a [u8]) -> Self {
        Self { bytes: body, at: 0, depth: 0 }
    }

    /// Reads the message inside a span of a body.
    #[must_use]
    pub fn within(body: &'a [u8], span: Span) -> Self {
        Self { bytes: &body[..(span.start + span.len) as usize], at: span.start as usize, depth: 1 }
    }

    /// The body up to the message's end: what positions and spans count in.
    #[must_use]
    #[inline]
    pub fn body(&self) -> &'a [u8] {
        self.bytes
    }

    /// Where the next field begins.
    #[must_use]
    #[inline]
    pub fn position(&self) -> usize {
        self.at
    }

    /// Continues at a position where a field begins, or at the message's end.
    #[inline]
    pub(super) fn seek(&mut self, position: usize) {
        debug_assert!((self.at..=self.bytes.len()).contains(&position), "forward and within the message");
        self.at = position;
    }

    /// True after the last field.
    #[must_use]
    #[inline]
    pub fn at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The bytes from here to the message's end.
    #[must_use]
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// The key of the next field; `None` at the message's end. Field number 0 is refused by [`Self::skip`], since no
    /// message knows it.
    ///
    /// # Errors
    /// [`WireFault`] when there is no valid key.
    #[inline]
    pub fn key(&mut self) -> Result<Option<u32>, WireFault> {
        if self.at_end() {
            return Ok(None);
        }
        self.short().map(Some)
    }

    /// A varint of at most 32 bits: a key or a length.
    #[inline]
    fn short(&mut self) -> Result<u32, WireFault> {
        match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u32::from(byte))
            }
            _ => self.short_of_many(),
        }
    }

    fn short_of_many(&mut self) -> Result<u32, WireFault> {
        let mut number = 0_u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = *self.bytes.get(self.at).ok_or(WireFault::Truncated)?;
            self.at += 1;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(number).map_err(|_| WireFault::Overlong);
            }
        }
        Err(WireFault::Overlong)
    }

    /// A varint of up to ten bytes; bits beyond the 64th are dropped.
    ///
    /// # Errors
    /// [`WireFault`] when the message ends inside it or it is longer.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, WireFault> {
        match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => self.varint_of_many(),
        }
    }

    #[inline]
    fn varint_of_many(&mut self) -> Result<u64, WireFault> {
        if let Some(chunk) = self.rest().first_chunk::<8>()
            && let Some((number, bytes)) = varint_in_word(u64::from_le_bytes(*chunk))
        {
            self.at += bytes;
            return Ok(number);
        }
        self.varint_bytewise()
    }

    /// The last bytes of a message, and varints of more than eight bytes.
    #[cold]
    fn varint_bytewise(&mut self) -> Result<u64, WireFault> {
        let rest = self.rest();
        let mut number = 0_u64;
        for (place, &byte) in rest.iter().take(10).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                self.at += place + 1;
                return Ok(number);
            }
        }
        Err(if rest.len() < 10 { WireFault::Truncated } else { WireFault::Overlong })
    }

    /// A `sint64`.
    ///
    /// # Errors
    /// As of a varint.
    #[inline]
    pub fn sint64(&mut self) -> Result<i64, WireFault> {
        self.varint().map(unzigzag)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`WireFault::Truncated`].
    #[inline]
    pub fn byte(&mut self) -> Result<u8, WireFault> {
        let byte = *self.bytes.get(self.at).ok_or(WireFault::Truncated)?;
        self.at += 1;
        Ok(byte)
    }

    /// Eight bytes, little-endian.
    ///
    /// # Errors
    /// [`WireFault::Truncated`].
    #[inline]
    pub fn fixed64(&mut self) -> Result<u64, WireFault> {
        let bytes = self.rest().first_chunk::<8>().ok_or(WireFault::Truncated)?;
        self.at += 8;
        Ok(u64::from_le_bytes(*bytes))
    }

    /// Four bytes, little-endian.
    ///
    /// # Errors
    /// [`WireFault::Truncated`].
    #[inline]
    pub fn fixed32(&mut self) -> Result<u32, WireFault> {
        let bytes = self.rest().first_chunk::<4>().ok_or(WireFault::Truncated)?;
        self.at += 4;
        Ok(u32::from_le_bytes(*bytes))
    }

    /// A `double`.
    ///
    /// # Errors
    /// [`WireFault::Truncated`].
    #[inline]
    pub fn double(&mut self) -> Result<f64, WireFault> {
        self.fixed64().map(f64::from_bits)
    }

    /// A length-delimited field, passed over.
    ///
    /// # Errors
    /// [`WireFault`] when the message ends before it does.
    #[inline]
    pub fn span(&mut self) -> Result<Span, WireFault> {
        let len = self.short()? as usize;
        if len > self.bytes.len() - self.at {
            return Err(WireFault::Truncated);
        }
        let start = self.at;
        self.at += len;
        Ok(Span { start: start as u32, len: len as u32 })
    }

    /// A length-delimited field, passed over and ready to be read as a message.
    ///
    /// # Errors
    /// [`WireFault`] when the message ends before it does.
    #[inline]
    pub fn message(&mut self) -> Result<Self, WireFault> {
        let span = self.span()?;
        let start = span.start as usize;
        Ok(Self { bytes: &self.bytes[..start + span.len as usize], at: start, depth: self.depth + 1 })
    }

    /// Passes over the field whose key was just read.
    ///
    /// # Errors
    /// [`WireFault`] when the field is not valid.
    #[cold]
    pub fn skip(&mut self, key: u32) -> Result<(), WireFault> {
        let mut open = [0_u32; DEPTH_MAX];
        let mut groups = 0;
        let mut key = key;
        loop {
            let field = key >> 3;
            if field == 0 {
                return Err(WireFault::InvalidKey);
            }
            match key & 7 {
                VARINT => _ = self.varint()?,
                FIXED64 => _ = self.fixed64()?,
                LENGTH => _ = self.span()?,
                FIXED32 => _ = self.fixed32()?,
                GROUP_START if groups + self.depth >= DEPTH_MAX => return Err(WireFault::TooDeep),
                GROUP_START => {
                    open[groups] = field;
                    groups += 1;
                }
                GROUP_END if groups > 0 && open[groups - 1] == field => groups -= 1,
                _ => return Err(WireFault::InvalidKey),
            }
            if groups == 0 {
                return Ok(());
            }
            key = self.key()?.ok_or(WireFault::Truncated)?;
        }
    }
}

/// The varint at the start of eight bytes and its length, without a branch a byte; `None` when it is longer.
#[inline]
fn varint_in_word(word: u64) -> Option<(u64, usize)> {
    let stops = !word & 0x8080_8080_8080_8080;
    if stops == 0 {
        return None;
    }
    // Keep the bytes up to the first one without its top bit, then close the gaps of one bit between sevens of bits.
    let bits = word & (stops ^ (stops - 1)) & 0x7f7f_7f7f_7f7f_7f7f;
    let bits = (bits & 0x007f_007f_007f_007f) | (bits & 0x7f00_7f00_7f00_7f00) >> 1;
    let bits = (bits & 0x0000_3fff_0000_3fff) | (bits & 0x3fff_0000_3fff_0000) >> 2;
    let bits = (bits & 0x0fff_ffff) | (bits & 0x0fff_ffff_0000_0000) >> 4;
    Some((bits, stops.trailing_zeros() as usize / 8 + 1))
}

/// The signed number that a `sint64` varint stands for.
#[must_use]
#[inline]
pub const fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// The varint that stands for a `sint64`.
#[must_use]
#[inline]
pub const fn zigzag(number: i64) -> u64 {
    (number << 1) as u64 ^ (number >> 63) as u64
}

/// Appends a varint.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Bytes of a varint.
#[must_use]
#[inline]
pub const fn varint_len(number: u64) -> usize {
    (70 - (number | 1).leading_zeros() as usize) / 7
}

/// Appends a varint field; 0 is proto3's default and is left out.
pub fn put_number(out: &mut Vec<u8>, field: u32, number: u64) {
    if number != 0 {
        put_varint(out, u64::from(key(field, VARINT)));
        put_varint(out, number);
    }
}

/// Appends a `fixed64` or `double` field, whatever its value.
pub fn put_fixed64(out: &mut Vec<u8>, field: u32, bits: u64) {
    put_varint(out, u64::from(key(field, FIXED64)));
    out.extend_from_slice(&bits.to_le_bytes());
}

/// Appends a `fixed32` field, whatever its value.
pub fn put_fixed32(out: &mut Vec<u8>, field: u32, bits: u32) {
    put_varint(out, u64::from(key(field, FIXED32)));
    out.extend_from_slice(&bits.to_le_bytes());
}

/// Appends a length-delimited field, even an empty one.
pub fn put_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    put_message_head(out, field, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends key and length of a length-delimited field; so many bytes are to follow.
pub fn put_message_head(out: &mut Vec<u8>, field: u32, len: usize) {
    put_varint(out, u64::from(key(field, LENGTH)));
    put_varint(out, len as u64);
}

/// Appends a string field; the empty one is proto3's default and is left out.
pub fn put_text(out: &mut Vec<u8>, field: u32, text: &str) {
    if !text.is_empty() {
        put_bytes(out, field, text.as_bytes());
    }
}

/// Bytes that [`put_text`] appends for a text in a field below 16.
#[must_use]
pub const fn text_len(text: &str) -> usize {
    if text.is_empty() { 0 } else { 1 + varint_len(text.len() as u64) + text.len() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn skip_all(bytes: &[u8]) -> Result<(), WireFault> {
        let mut reader = Reader::new(bytes);
        while let Some(key) = reader.key()? {
            reader.skip(key)?;
        }
        Ok(())
    }

    /// What protobuf's own decoders (upb, as in Python) say to the same bytes.
    #[test]
    fn takes_and_refuses_what_protobuf_does() {
        let nested = |depth: usize| [[0xa3, 0x06].repeat(depth), [0xa4, 0x06].repeat(depth)].concat();
        let cases: &[(&[u8], Result<(), WireFault>)] = &[
            (b"", Ok(())),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", Ok(())),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Err(WireFault::Overlong)),
            (b"\x08\xff\xff", Err(WireFault::Truncated)),
            (b"\x88\x00\x05", Ok(())),
            (b"\xf8\xff\xff\xff\x0f\x05", Ok(())),
            (b"\x88\x80\x80\x80\x10\x05", Err(WireFault::Overlong)),
            (b"\x88\x80\x80\x80\x80\x00\x05", Err(WireFault::Overlong)),
            (b"\x88", Err(WireFault::Truncated)),
            (b"\x00\x05", Err(WireFault::InvalidKey)),
            (b"\x0c", Err(WireFault::InvalidKey)),
            (b"\x0e\x00", Err(WireFault::InvalidKey)),
            (b"\x0f\x00", Err(WireFault::InvalidKey)),
            (b"\x09\x01\x02\x03\x04\x05\x06\x07", Err(WireFault::Truncated)),
            (b"\x0d\x01\x02\x03\x04", Ok(())),
            (b"\x0d\x01\x02\x03", Err(WireFault::Truncated)),
            (b"\x0a\x02a", Err(WireFault::Truncated)),
            (b"\x0a\x80\x80\x80\x80\x80\x00", Err(WireFault::Overlong)),
            (b"\xa3\x06", Err(WireFault::Truncated)),
            (b"\xa3\x06\xac\x06", Err(WireFault::InvalidKey)),
            (b"\xa3\x06\x08\x01\xa4\x06", Ok(())),
        ];
        for (bytes, expected) in cases {
            assert_eq!(skip_all(bytes), *expected, "{bytes:02x?}");
        }
        assert_eq!(skip_all(&nested(100)), Ok(()));
        assert_eq!(skip_all(&nested(101)), Err(WireFault::TooDeep));
    }

    #[test]
    fn a_message_counts_as_a_level_of_nesting() {
        let mut reader = Reader::new(b"\x02\x08\x01");
        let inner = reader.message().expect("two bytes");
        assert_eq!((inner.position(), inner.rest(), reader.at_end()), (1, &b"\x08\x01"[..], true));
        assert_eq!(inner.depth, 1);
    }

    proptest! {
        #[test]
        fn varints_survive_the_way_there_and_back(number: u64, bits in 0..64_u32, behind in prop::collection::vec(any::<u8>(), 0..9)) {
            let number = number >> bits;
            let mut bytes = Vec::new();
            put_varint(&mut bytes, number);
            prop_assert_eq!(bytes.len(), varint_len(number));
            let end = bytes.len();
            bytes.extend(&behind);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.varint(), Ok(number));
            prop_assert_eq!(reader.position(), end);
        }

        #[test]
        fn zigzag_survives_the_way_there_and_back(number: i64) {
            prop_assert_eq!(unzigzag(zigzag(number)), number);
        }
    }
}
