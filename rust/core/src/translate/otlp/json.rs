//! OTLP in JSON, brought into protobuf, so that everything behind it is written once.
//!
//! As protobuf's JSON mapping has it: names in lowerCamelCase, 64-bit numbers as text or as numbers, bytes in base64,
//! fields that are not known here are skipped. Unlike it, ids of traces and spans are in hexadecimal digits. Enums are
//! numbers; their names are read, too, for there are clients that write those.
//!
//! The text is written as it is read: between both stands no tree, which would take sixteen times the text's bytes.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};

use super::schema::{EXPORT_LOGS, EXPORT_METRICS, EXPORT_TRACES, Field, Holds, Message};
use crate::translate::RequestFault;
use crate::wire::proto::{LENGTH, VARINT, key};
use crate::wire::proto::{put_bytes, put_fixed32, put_fixed64, put_varint, zigzag};

/// The request for metrics that a JSON text says, as protobuf.
///
/// # Errors
/// [`RequestFault::Json`] says what is wrong and where.
pub fn metrics_request(body: &[u8]) -> Result<Vec<u8>, RequestFault> {
    request(body, EXPORT_METRICS)
}

/// The same for traces.
///
/// # Errors
/// As of metrics.
pub fn traces_request(body: &[u8]) -> Result<Vec<u8>, RequestFault> {
    request(body, EXPORT_TRACES)
}

/// The same for logs.
///
/// # Errors
/// As of metrics.
pub fn logs_request(body: &[u8]) -> Result<Vec<u8>, RequestFault> {
    request(body, EXPORT_LOGS)
}

fn request(body: &[u8], message: Message) -> Result<Vec<u8>, RequestFault> {
    match read(body, message) {
        // Looked at only now, for it is seldom.
        Err(fault) => without_halves(body).map_or(Err(fault), |mended| read(&mended, message)),
        written => written,
    }
}

/// The text with U+FFFD in the place of surrogates without their other half, which are no characters: what a client in
/// JavaScript makes of a text that it has cut within one. None where there are none.
fn without_halves(body: &[u8]) -> Option<Vec<u8>> {
    let escaped = |at: usize| {
        let digits = body.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut mended = None;
    let mut at = 0;
    while let Some(found) = body.get(at..).and_then(|rest| rest.iter().position(|&byte| byte == b'\\')) {
        at += found;
        at += match (escaped(at), escaped(at + 6)) {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => 12,
            (Some(0xd800..0xe000), _) => {
                mended.get_or_insert_with(|| body.to_vec())[at + 2..at + 6].copy_from_slice(b"fffd");
                6
            }
            _ => 2,
        };
    }
    mended
}

fn read(body: &[u8], message: Message) -> Result<Vec<u8>, RequestFault> {
    let mut writer = Writer { out: Vec::with_capacity(body.len() / 2), path: Vec::new(), wanted: "" };
    let mut text = serde_json::Deserializer::from_slice(body);
    let read = InMessage { message, writer: &mut writer }.deserialize(&mut text).and_then(|()| text.end());
    match read {
        Ok(()) => Ok(writer.out),
        Err(error) if error.is_data() => {
            let place = if writer.path.is_empty() { "the body".into() } else { writer.path.join(".") };
            Err(RequestFault::Json(format!("{place}: expected {}", writer.wanted)))
        }
        Err(error) => Err(RequestFault::Json(format!("the body is not JSON: {error}"))),
    }
}

/// The message that is written, and what is read at the moment.
struct Writer {
    out: Vec<u8>,
    /// The fields that lead to it.
    path: Vec<&'static str>,
    /// What stands there, if all is well.
    wanted: &'static str,
}

/// Reads an object as the fields of a message.
struct InMessage<'w> {
    message: Message,
    writer: &'w mut Writer,
}

impl<'de> DeserializeSeed<'de> for InMessage<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        self.writer.wanted = "an object";
        value.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for InMessage<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.writer.wanted)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(known) = fields.next_key_seed(Name(self.message))? {
            let Some(field) = known else {
                fields.next_value::<IgnoredAny>()?;
                continue;
            };
            self.writer.path.push(field.name);
            fields.next_value_seed(InField { field, one: !field.repeated, may_be_null: true, writer: self.writer })?;
            self.writer.path.pop();
        }
        Ok(())
    }
}

/// Finds the field that a name means.
struct Name(Message);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Self::Value, D::Error> {
        value.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<&'static Field>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a field's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|field| field.name == name))
    }
}

/// Reads a value, or a list of them, and writes it as a field.
struct InField<'w> {
    field: &'static Field,
    /// Not a list.
    one: bool,
    /// A field that is null is one that is not there; an element of a list is not.
    may_be_null: bool,
    writer: &'w mut Writer,
}

#[expect(clippy::unnecessary_wraps, reason = "a visit ends with them, and has a result")]
impl InField<'_> {
    fn wanted(&self) -> &'static str {
        match self.field.holds {
            _ if !self.one => "a list",
            Holds::Text => "text",
            Holds::Bytes => "text in base64",
            Holds::Hex => "hexadecimal digits",
            Holds::Bool => "true or false",
            Holds::Varint | Holds::Zigzag | Holds::Fixed64 => "a whole number of 64 bits",
            Holds::Enum(_) => "a name or a whole number",
            Holds::Fixed32 => "a whole number of 32 bits",
            Holds::Double => "a number",
            Holds::Message(_) => "an object",
        }
    }

    fn varint<E: Error>(self, value: u64) -> Result<(), E> {
        let out = &mut self.writer.out;
        put_varint(out, u64::from(key(self.field.number, VARINT)));
        put_varint(out, value);
        Ok(())
    }

    /// Writes a whole number by its bits, signed or not.
    fn whole<E: Error>(self, bits: u64, told: Unexpected<'_>) -> Result<(), E> {
        let (out, number) = (&mut self.writer.out, self.field.number);
        match (self.field.holds, u32::try_from(bits)) {
            _ if !self.one => return Err(E::invalid_type(told, &self)),
            (Holds::Varint | Holds::Enum(_), _) => return self.varint(bits),
            (Holds::Zigzag, _) => return self.varint(zigzag(bits as i64)),
            (Holds::Fixed64, _) => put_fixed64(out, number, bits),
            (Holds::Fixed32, Ok(bits)) => put_fixed32(out, number, bits),
            _ => return Err(E::invalid_type(told, &self)),
        }
        Ok(())
    }

    fn double<E: Error>(self, value: f64) -> Result<(), E> {
        put_fixed64(&mut self.writer.out, self.field.number, value.to_bits());
        Ok(())
    }

    fn bytes<E: Error>(self, bytes: &[u8]) -> Result<(), E> {
        put_bytes(&mut self.writer.out, self.field.number, bytes);
        Ok(())
    }

    fn holds_double(&self) -> bool {
        self.one && matches!(self.field.holds, Holds::Double)
    }
}

impl<'de> DeserializeSeed<'de> for InField<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        self.writer.wanted = self.wanted();
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for InField<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.wanted())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        if self.may_be_null { Ok(()) } else { Err(E::invalid_type(Unexpected::Unit, &self)) }
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match self.field.holds {
            Holds::Bool if self.one => self.varint(u64::from(value)),
            _ => Err(E::invalid_type(Unexpected::Bool(value), &self)),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        if self.holds_double() { self.double(value as f64) } else { self.whole(value, Unexpected::Unsigned(value)) }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        if self.holds_double() {
            self.double(value as f64)
        } else {
            self.whole(value as u64, Unexpected::Signed(value))
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        if self.holds_double() {
            self.double(value)
        } else if value.fract() == 0.0 && value.abs() < 9e15 {
            self.whole(value as i64 as u64, Unexpected::Float(value))
        } else {
            Err(E::invalid_type(Unexpected::Float(value), &self))
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let told = Unexpected::Other("another text");
        if !self.one {
            return Err(E::invalid_type(told, &self));
        }
        let number = || text.parse::<u64>().ok().or_else(|| text.parse::<i64>().ok().map(|signed| signed as u64));
        match self.field.holds {
            Holds::Text => self.bytes(text.as_bytes()),
            Holds::Bytes => match from_base64(text) {
                Some(bytes) => self.bytes(&bytes),
                None => Err(E::invalid_value(told, &self)),
            },
            Holds::Hex => match from_hex(text) {
                Some(bytes) => self.bytes(&bytes),
                None => Err(E::invalid_value(told, &self)),
            },
            Holds::Enum(names) => {
                let by_name = || names.iter().position(|name| *name == text).map(|place| place as u64);
                // A name that is not known here is of a newer protocol: it is not specified.
                self.varint(number().or_else(by_name).unwrap_or(0))
            }
            Holds::Double => match double(text) {
                Some(value) => self.double(value),
                None => Err(E::invalid_value(told, &self)),
            },
            Holds::Bool | Holds::Message(_) => Err(E::invalid_type(told, &self)),
            Holds::Varint | Holds::Zigzag | Holds::Fixed32 | Holds::Fixed64 => match number() {
                Some(bits) => self.whole(bits, told),
                None => Err(E::invalid_value(told, &self)),
            },
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        if self.one {
            return Err(A::Error::invalid_type(Unexpected::Seq, &self));
        }
        let InField { field, writer, .. } = self;
        while elements.next_element_seed(InField { field, one: true, may_be_null: false, writer })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<(), A::Error> {
        let Holds::Message(of) = self.field.holds else {
            return Err(A::Error::invalid_type(Unexpected::Map, &self));
        };
        if !self.one {
            return Err(A::Error::invalid_type(Unexpected::Map, &self));
        }
        let start = self.writer.out.len();
        InMessage { message: of(), writer: self.writer }.visit_map(fields)?;
        // Its length, which stands in front, is known now.
        let out = &mut self.writer.out;
        let end = out.len();
        put_varint(out, u64::from(key(self.field.number, LENGTH)));
        put_varint(out, (end - start) as u64);
        let head = out.len() - end;
        out[start..].rotate_right(head);
        Ok(())
    }
}

fn double(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        text => text.parse().ok().filter(|number: &f64| number.is_finite()),
    }
}

/// Bytes in pairs of hexadecimal digits, of either case.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8]| Some((digit(pair[0])? << 4 | digit(*pair.get(1)?)?) as u8);
    text.as_bytes().chunks(2).map(pair).collect()
}

/// Bytes in base64, of either alphabet, with or without padding.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let (mut bits, mut held) = (0_u32, 0);
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for digit in text.trim_end_matches('=').bytes() {
        let six = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}
