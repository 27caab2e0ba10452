//! One line of a page: a name, labels, a value, and what may stand behind it.

use super::Syntax;

/// Labels with their values, as a line has them.
pub(super) type Labels = Vec<(Vec<u8>, Vec<u8>)>;

/// One line.
#[derive(Debug, Default)]
pub(super) struct Sample {
    pub(super) name: Vec<u8>,
    pub(super) labels: Labels,
    pub(super) value: f64,
    /// 0 where the line has none.
    pub(super) timestamp_unix_ns: u64,
    /// A single observation stands behind it. Nothing else is known of it here.
    pub(super) has_exemplar: bool,
    exemplar_labels: Labels,
}

impl Sample {
    /// Reads `name{label="value",…} value timestamp`, and in `OpenMetrics` an exemplar behind it,
    /// `# {label="value",…} value timestamp`; `None` for anything else.
    pub(super) fn read(&mut self, line: &[u8], syntax: Syntax) -> Option<()> {
        let end = line.iter().position(|byte| b"{ \t".contains(byte))?;
        self.name.clear();
        self.name.extend_from_slice(&line[..end]);
        self.labels.clear();
        let mut rest = line[end..].trim_ascii_start();
        if let Some(labels) = rest.strip_prefix(b"{") {
            rest = read_labels(labels, &mut self.labels)?;
        }
        // A quote there may be only in the labels, so what is behind them has no other # than an exemplar's.
        let (sample, exemplar) = match rest.iter().position(|&byte| byte == b'#') {
            Some(hash) if syntax == Syntax::OpenMetrics => (&rest[..hash], Some(&rest[hash + 1..])),
            _ => (rest, None),
        };
        (self.value, self.timestamp_unix_ns) = value_and_time(sample, syntax)?;
        self.has_exemplar = exemplar.is_some();
        if let Some(exemplar) = exemplar {
            self.exemplar_labels.clear();
            let labels = exemplar.trim_ascii_start().strip_prefix(b"{")?;
            value_and_time(read_labels(labels, &mut self.exemplar_labels)?, syntax)?;
        }
        (!self.name.is_empty()).then_some(())
    }
}

/// What stands between blanks.
pub(super) fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// A number in any form that Go's parser takes here: `+Inf` and `NaN` in any case.
pub(super) fn number(word: &[u8]) -> Option<f64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// Reads a value and perhaps a time, and nothing else.
fn value_and_time(text: &[u8], syntax: Syntax) -> Option<(f64, u64)> {
    let mut words = words(text);
    let value = number(words.next()?)?;
    let timestamp_unix_ns = match words.next() {
        None => 0,
        Some(word) => {
            let unix_ns = match syntax {
                Syntax::Text => i128::from(std::str::from_utf8(word).ok()?.parse::<i64>().ok()?) * 1_000_000,
                Syntax::OpenMetrics => nanoseconds(std::str::from_utf8(word).ok()?)?,
            };
            // 0 would be the time of receipt, and what no signed number tells is refused by itself.
            unix_ns.clamp(1, i128::from(i64::MAX)) as u64
        }
    };
    words.next().is_none().then_some((value, timestamp_unix_ns))
}

/// Seconds as nanoseconds. A double has no room for the nanoseconds of our days, so plain decimals are not made one.
fn nanoseconds(seconds: &str) -> Option<i128> {
    const DIGITS: usize = 9;

    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if let Ok(whole) = whole.parse::<i64>()
        && digits(fraction)
    {
        let fraction = format!("{fraction:0<DIGITS$.DIGITS$}").parse::<i128>().ok()?;
        let before_1970 = seconds.starts_with('-');
        return Some(i128::from(whole) * 1_000_000_000 + if before_1970 { -fraction } else { fraction });
    }
    let seconds: f64 = seconds.parse().ok()?;
    seconds.is_finite().then_some((seconds * 1e9) as i128)
}

/// Reads labels up to their closing brace; what stands behind it.
fn read_labels<'a>(mut rest: &'a [u8], labels: &mut Labels) -> Option<&'a [u8]> {
    loop {
        rest = rest.trim_ascii_start();
        if let Some(behind) = rest.strip_prefix(b"}") {
            return Some(behind);
        }
        let equals = rest.iter().position(|&byte| byte == b'=')?;
        let key = rest[..equals].trim_ascii().to_vec();
        rest = rest[equals + 1..].trim_ascii_start().strip_prefix(b"\"")?;
        let mut value = Vec::new();
        let mut at = 0;
        loop {
            match *rest.get(at)? {
                b'"' => break,
                b'\\' => {
                    at += 1;
                    match *rest.get(at)? {
                        b'n' => value.push(b'\n'),
                        escaped @ (b'"' | b'\\') => value.push(escaped),
                        other => value.extend_from_slice(&[b'\\', other]),
                    }
                }
                byte => value.push(byte),
            }
            at += 1;
        }
        rest = rest[at + 1..].trim_ascii_start();
        if key.is_empty() {
            return None;
        }
        labels.push((key, value));
        match rest.first()? {
            b',' => rest = &rest[1..],
            b'}' => {}
            _ => return None,
        }
    }
}
