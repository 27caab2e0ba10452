//! OTLP in JSON, brought into protobuf, so that everything behind it is written once.
//!
//! As protobuf's JSON mapping has it: names in lowerCamelCase, 64-bit numbers as text or as numbers, bytes in base64,
//! fields that are not known here are skipped. Unlike it, ids of traces and spans are in hexadecimal digits.

use serde_json::Value;

use super::schema::{EXPORT_LOGS, EXPORT_METRICS, EXPORT_TRACES, Field, Holds, Message};
use crate::translate::RequestFault;
use crate::wire::proto::{VARINT, key};
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
    let parsed: Value =
        serde_json::from_slice(body).map_err(|error| RequestFault::Json(format!("the body is not JSON: {error}")))?;
    let mut out = Vec::with_capacity(body.len() / 2);
    let mut path = Vec::new();
    write_message(&parsed, message, &mut path, &mut out)
        .map_err(|wanted| RequestFault::Json(format!("{}: expected {wanted}", place(&path))))?;
    Ok(out)
}

fn place(path: &[&str]) -> String {
    if path.is_empty() { "the body".into() } else { path.join(".") }
}

/// Leaves the path of what is wrong behind when it fails.
fn write_message(
    value: &Value,
    message: Message,
    path: &mut Vec<&'static str>,
    out: &mut Vec<u8>,
) -> Result<(), &'static str> {
    let fields = value.as_object().ok_or("an object")?;
    for (name, value) in fields {
        let Some(field) = message.iter().find(|field| field.name == name) else { continue };
        if value.is_null() {
            continue;
        }
        path.push(field.name);
        if field.repeated {
            for element in value.as_array().ok_or("a list")? {
                write_field(element, field, path, out)?;
            }
        } else {
            write_field(value, field, path, out)?;
        }
        path.pop();
    }
    Ok(())
}

fn write_field(
    value: &Value,
    field: &Field,
    path: &mut Vec<&'static str>,
    out: &mut Vec<u8>,
) -> Result<(), &'static str> {
    let number = field.number;
    let put = |out: &mut Vec<u8>, varint: u64| {
        put_varint(out, u64::from(key(number, VARINT)));
        put_varint(out, varint);
    };
    match field.holds {
        Holds::Text => put_bytes(out, number, value.as_str().ok_or("text")?.as_bytes()),
        Holds::Bytes => put_bytes(out, number, &value.as_str().and_then(from_base64).ok_or("text in base64")?),
        Holds::Hex => put_bytes(out, number, &value.as_str().and_then(from_hex).ok_or("hexadecimal digits")?),
        Holds::Bool => put(out, u64::from(value.as_bool().ok_or("true or false")?)),
        Holds::Varint => put(out, whole(value).ok_or("a whole number of 64 bits")?),
        Holds::Zigzag => put(out, zigzag(whole(value).ok_or("a whole number of 64 bits")? as i64)),
        Holds::Fixed64 => put_fixed64(out, number, whole(value).ok_or("a whole number of 64 bits")?),
        Holds::Fixed32 => {
            let bits = whole(value).and_then(|bits| u32::try_from(bits).ok());
            put_fixed32(out, number, bits.ok_or("a whole number of 32 bits")?);
        }
        Holds::Double => put_fixed64(out, number, double(value).ok_or("a number")?.to_bits()),
        Holds::Message(of) => {
            let mut inner = Vec::new();
            write_message(value, of(), path, &mut inner)?;
            put_bytes(out, number, &inner);
        }
    }
    Ok(())
}

/// A number of 64 bits, signed or not, as its bits.
fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => {
            let integral = || number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 9e15);
            number
                .as_u64()
                .or_else(|| number.as_i64().map(|signed| signed as u64))
                .or(integral().map(|f| f as i64 as u64))
        }
        Value::String(text) => text.parse().ok().or_else(|| text.parse::<i64>().ok().map(|signed| signed as u64)),
        _ => None,
    }
}

fn double(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            text => text.parse().ok().filter(|number: &f64| number.is_finite()),
        },
        _ => None,
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
