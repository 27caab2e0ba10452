//! `InfluxDB` line protocol: `measurement,tag=value field=1.5,other=2i 1795000000000000000`.
//!
//! A field becomes a point: its name is the measurement's and its own, joined by a dot, or the measurement's alone for the
//! field `value`, which is how our own lines say it. Truth is 1 or 0; text is no measurement, and is counted. A line that
//! breaks the syntax is refused and counted, with the first such line's place and fault; the others are taken.

use super::batches::LineFault;
use super::{Batches, Kind, Renames};
use crate::limits::TAGS_MAX;
use crate::series::MetricType;

/// The field that needs no name of its own.
const VALUE: &[u8] = b"value";

/// What a timestamp counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Precision(u64);

impl Precision {
    /// Nanoseconds, where nothing is said.
    pub const NANOSECONDS: Self = Self(1);

    /// The precision that a request's parameter names.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(Self(match name {
            "" | "n" | "ns" => 1,
            "u" | "us" | "µ" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        }))
    }
}

/// Writes the points of the lines.
pub fn translate(body: &[u8], precision: Precision, renames: &Renames, batches: &mut Batches) {
    let mut parser = Parser { renames, precision, text: Vec::new(), tags: Vec::new(), fields: Vec::new() };
    let mut lines = Lines(body);
    loop {
        let before = body.len() - lines.0.len();
        let Some(whole) = lines.next() else { break };
        let line = whole.strip_suffix(b"\r").unwrap_or(whole);
        let line = line.trim_ascii_start();
        if line.is_empty() || line[0] == b'#' {
            continue;
        }
        if let Err(fault) = parser.line(line, batches) {
            // A text may hold lines; one that does not end holds all that follow.
            let held = line_feeds(whole.strip_suffix(b"\n").unwrap_or(whole));
            batches.refuse_lines(1 + held as u64, || 1 + line_feeds(&body[..before]), fault);
        }
    }
}

fn line_feeds(text: &[u8]) -> usize {
    text.split(|&byte| byte == b'\n').count() - 1
}

/// Lines end at line feeds, but not at those within a field's text.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        // No further than the line: to look for what is not blank in all that follows would be to read it once a line.
        let comment = self.0.iter().find(|byte| !b" \t\r".contains(byte)) == Some(&b'#');
        let (mut fields, mut quoted, mut at) = (false, false, 0);
        while let Some(&byte) = self.0.get(at) {
            match byte {
                // Only a text may hold a line feed, and only a field is a text: it begins right behind the sign.
                b'\\' if quoted || self.0.get(at + 1) != Some(&b'\n') => at += 1,
                b' ' if at > 0 => fields = true,
                b'"' if quoted || fields && !comment && self.0[at - 1] == b'=' => quoted = !quoted,
                b'\n' if !quoted => break,
                _ => {}
            }
            at += 1;
        }
        let end = at.min(self.0.len());
        let line = &self.0[..end];
        self.0 = self.0.get(end + 1..).unwrap_or_default();
        Some(line)
    }
}

/// Where an unescaped text stands in the parser's buffer.
type Place = (usize, usize);

struct Parser<'a> {
    renames: &'a Renames,
    precision: Precision,
    /// Names and texts of the line at hand, without their escapes.
    text: Vec<u8>,
    tags: Vec<(Place, Place)>,
    fields: Vec<(Place, Option<f64>)>,
}

impl Parser<'_> {
    /// Reads a line and writes its points; nothing of a line with a fault.
    fn line(&mut self, line: &[u8], batches: &mut Batches) -> Result<(), LineFault> {
        self.text.clear();
        self.tags.clear();
        self.fields.clear();
        let mut rest = line;
        let measurement = self.take(&mut rest, b", ");
        if measurement.0 == measurement.1 {
            return Err(LineFault::NoMeasurement);
        }
        while rest.first() == Some(&b',') {
            rest = &rest[1..];
            let key = self.take(&mut rest, b",= ");
            if rest.first() != Some(&b'=') || key.0 == key.1 {
                return Err(LineFault::TagWithoutValue);
            }
            rest = &rest[1..];
            let value = self.take(&mut rest, b", ");
            // More than a point may have is refused for it, and need not be kept.
            if self.tags.len() <= TAGS_MAX {
                self.tags.push((key, value));
            }
        }
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Err(LineFault::NoFields);
        }
        loop {
            let key = self.take(&mut rest, b",= ");
            if rest.first() != Some(&b'=') || key.0 == key.1 {
                return Err(LineFault::FieldWithoutValue);
            }
            rest = &rest[1..];
            let value = field_value(&mut rest)?;
            self.fields.push((key, value));
            if rest.first() != Some(&b',') {
                break;
            }
            rest = &rest[1..];
        }
        let timestamp_unix_ns = self.timestamp(rest.trim_ascii())?;
        self.write(measurement, timestamp_unix_ns, batches);
        Ok(())
    }

    /// Takes a name up to one of the `ends` that is not escaped. A backslash in front of anything but a comma, a sign or a
    /// space is itself.
    fn take(&mut self, rest: &mut &[u8], ends: &[u8]) -> Place {
        let start = self.text.len();
        let mut at = 0;
        while let Some(&byte) = rest.get(at) {
            if byte == b'\\' && rest.get(at + 1).is_some_and(|next| b", =".contains(next)) {
                at += 1;
            } else if ends.contains(&byte) {
                break;
            }
            self.text.push(rest[at]);
            at += 1;
        }
        *rest = &rest[at..];
        (start, self.text.len())
    }

    /// 0, the time of receipt, where the line has none.
    fn timestamp(&self, text: &[u8]) -> Result<u64, LineFault> {
        if text.is_empty() {
            return Ok(0);
        }
        let count: i64 =
            std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(LineFault::Timestamp)?;
        // What lies outside the years that can be told is refused by ingest as too far back or ahead.
        let ns = i128::from(count) * i128::from(self.precision.0);
        Ok(ns.clamp(1, i128::from(i64::MAX)) as u64)
    }

    fn write(&self, measurement: Place, timestamp_unix_ns: u64, batches: &mut Batches) {
        let text = |place: Place| &self.text[place.0..place.1];
        let mut name = text(measurement).to_vec();
        let stem = name.len();
        let kind = Kind { metric_type: MetricType::Gauge, unit: &[], delta: false };
        for &(field, value) in &self.fields {
            let Some(value) = value else {
                batches.left().text_fields += 1;
                continue;
            };
            name.truncate(stem);
            if text(field) != VALUE {
                name.push(b'.');
                name.extend_from_slice(text(field));
            }
            batches.series(&name);
            for &(key, value) in &self.tags {
                self.renames.tag(text(key), text(value), batches);
            }
            batches.value(kind, timestamp_unix_ns, value);
        }
    }
}

/// Takes a field's value: a number, or nothing for a text.
fn field_value(rest: &mut &[u8]) -> Result<Option<f64>, LineFault> {
    if rest.first() == Some(&b'"') {
        let mut at = 1;
        loop {
            match rest.get(at) {
                None => return Err(LineFault::TextWithoutEnd),
                Some(b'\\') => at += 2,
                Some(b'"') => break,
                Some(_) => at += 1,
            }
        }
        *rest = &rest[at + 1..];
        return match rest.first() {
            None | Some(b',' | b' ') => Ok(None),
            Some(_) => Err(LineFault::Value),
        };
    }
    let end = rest.iter().position(|byte| b", ".contains(byte)).unwrap_or(rest.len());
    let (text, behind) = rest.split_at(end);
    *rest = behind;
    let text = std::str::from_utf8(text).map_err(|_| LineFault::Value)?;
    let number = match text {
        "t" | "T" | "true" | "True" | "TRUE" => Some(1.0),
        "f" | "F" | "false" | "False" | "FALSE" => Some(0.0),
        _ => match text.as_bytes().last() {
            Some(b'i') => text[..text.len() - 1].parse::<i64>().ok().map(|number| number as f64),
            Some(b'u') => text[..text.len() - 1].parse::<u64>().ok().map(|number| number as f64),
            // Digits and what belongs to them: Rust's own parser takes "nan" and "infinity" as well.
            Some(b'0'..=b'9' | b'.') => text.parse().ok(),
            _ => None,
        },
    };
    number.map(Some).ok_or(LineFault::Value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::Limits;
    use crate::translate::{BatchesMax, Translated};
    use crate::wire::decode::RowData;
    use crate::wire::{DecodeScratch, decode};

    fn translated(lines: &[u8]) -> Translated {
        let mut batches = Batches::new(BatchesMax { points: 10_000, frame_bytes: 1 << 24, request_bytes: 1 << 24 });
        translate(lines, Precision::NANOSECONDS, &Renames::new([("host", "node_id")]), &mut batches);
        batches.finish().expect("small enough")
    }

    /// Name, tags, time and value.
    type Point = (String, Vec<(String, String)>, i64, f64);

    fn points(lines: &str) -> Vec<Point> {
        let translated = translated(lines.as_bytes());
        let mut scratch = DecodeScratch::default();
        let Some(frame) = translated.frames.first() else { return Vec::new() };
        let batch = decode(frame, &Limits::default(), &mut scratch).expect("a batch");
        let text = |span| String::from_utf8(batch.text(span).to_vec()).expect("UTF-8");
        let row = |row: &crate::wire::decode::Row| {
            let RowData::Value(value) = row.data else { panic!("{row:?}") };
            let tags = batch.tags(row).iter().map(|tag| (text(tag.key), text(tag.value))).collect();
            (text(row.name), tags, row.timestamp_unix_ns, value)
        };
        batch.rows().iter().map(row).collect()
    }

    fn tags(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn each_field_is_a_point() {
        assert_eq!(
            points(
                "cpu,host=n1,cpu=cpu\\ 0 usage_idle=98.5,ticks=12i,big=18446744073709551615u,value=-1e3,up=true 1795\n"
            ),
            [
                ("cpu.usage_idle".into(), tags(&[("node_id", "n1"), ("cpu", "cpu 0")]), 1795, 98.5),
                ("cpu.ticks".into(), tags(&[("node_id", "n1"), ("cpu", "cpu 0")]), 1795, 12.0),
                ("cpu.big".into(), tags(&[("node_id", "n1"), ("cpu", "cpu 0")]), 1795, 18_446_744_073_709_551_615.0),
                ("cpu".into(), tags(&[("node_id", "n1"), ("cpu", "cpu 0")]), 1795, -1_000.0),
                ("cpu.up".into(), tags(&[("node_id", "n1"), ("cpu", "cpu 0")]), 1795, 1.0),
            ]
        );
    }

    #[test]
    fn escapes_comments_texts_and_line_ends_are_read_as_influxdb_reads_them() {
        let lines = "# a comment\r\n\r\nm\\,x\\ y,k\\=1=a\\,b f\\=1=2,text=\"a, \\\"b\\\"\n=c\",empty=\"\" 7\r\nback\\slash value=1\n";
        assert_eq!(
            points(lines),
            [
                ("m,x y.f=1".into(), tags(&[("k=1", "a,b")]), 7, 2.0),
                ("back\\slash".into(), tags(&[]), crate::wire::decode::RECEIPT_TIME, 1.0),
            ]
        );
        assert_eq!(translated(lines.as_bytes()).left.text_fields, 2);
    }

    #[test]
    fn a_line_with_a_fault_is_refused_alone_and_the_first_is_told() {
        let lines = "good value=1\nm\nm,t f=1\nm,t= f=1\n,t=1 f=1\nm f\nm f=\nm f=nan\nm f=1x\nm f=\"a\nm f=1 x";
        let translated = translated(lines.as_bytes());
        assert_eq!((translated.points, translated.left.lines), (2, 9));
        let fault = translated.first_fault.expect("there are faults");
        assert_eq!(fault, "line 2: no fields behind the measurement and its tags");
    }

    #[test]
    fn quotes_and_backslashes_of_comments_and_tags_take_no_other_line_with_them() {
        let lines = "# host=\"web\ncpu value=1 1\n# C:\\\nm,t=\"a f=2 2\nback\\\nlast value=3 3\n";
        let names: Vec<_> = points(lines).into_iter().map(|point| (point.0, point.3)).collect();
        assert_eq!(names, [("cpu".into(), 1.0), ("m.f".into(), 2.0), ("last".into(), 3.0)]);
        assert_eq!(translated(lines.as_bytes()).left.lines, 1);
    }

    #[test]
    fn a_text_that_does_not_end_takes_what_follows_with_it_and_all_of_it_is_counted() {
        let translated = translated(b"m text=\"a\nb\" 1\nm value=1 2\nm text=\"a 3\nm value=2 4\nm value=3 5\n");
        assert_eq!((translated.points, translated.left.lines), (1, 3));
        assert_eq!(translated.first_fault.as_deref(), Some("line 4: a text without its closing quote"));
    }

    #[test]
    fn times_count_in_the_precision_of_the_request() {
        for (name, ns) in [("", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000)] {
            let mut batches = Batches::new(BatchesMax { points: 10, frame_bytes: 1 << 20, request_bytes: 1 << 24 });
            let precision = Precision::named(name).expect("known");
            translate(b"m value=1 3", precision, &Renames::default(), &mut batches);
            let mut scratch = DecodeScratch::default();
            let translated = batches.finish().expect("small enough");
            let batch = decode(&translated.frames[0], &Limits::default(), &mut scratch).expect("a batch");
            assert_eq!(batch.rows()[0].timestamp_unix_ns, 3 * ns, "{name}");
        }
        assert_eq!(Precision::named("day"), None);
    }

    /// Were each line looked at together with all that follows, these would take half a million million steps.
    #[test]
    fn lines_of_nothing_cost_their_own_bytes_alone() {
        for blank in ["\n", " \n", "\r\n", "#\n"] {
            let lines = blank.repeat(1 << 20) + "m value=1 5";
            assert_eq!(points(&lines), [("m".into(), Vec::new(), 5, 1.0)]);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_their_end(bytes in prop::collection::vec(prop::sample::select(&b"ab,= \\\"\n#1i.\r"[..]), 0..200)) {
            let translated = translated(&bytes);
            for frame in &translated.frames {
                let mut scratch = DecodeScratch::default();
                decode(frame, &Limits::default(), &mut scratch).expect("a batch");
            }
        }
    }
}
