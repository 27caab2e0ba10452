use super::*;
use crate::columns::testing::{block_of, blocks, descriptor};
use crate::series::{Descriptor, MetricType, SeriesKey};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A line as `InfluxDB` takes it apart.
#[derive(Debug, PartialEq)]
struct Parsed {
    name: String,
    tags: Vec<(String, String)>,
    fields: Vec<(String, String)>,
    timestamp: i64,
}

/// Where the first of `stops` stands that no backslash escapes.
fn unescaped(line: &str, stops: &[char]) -> usize {
    let mut escaped = false;
    for (place, character) in line.char_indices() {
        if !escaped && stops.contains(&character) {
            return place;
        }
        escaped = character == '\\';
    }
    line.len()
}

/// How servers differ: whether two backslashes are read as one.
#[derive(Clone, Copy, PartialEq)]
enum Dialect {
    Influx2,
    Influx3,
}

fn unescape(text: &str, special: &str, dialect: Dialect) -> String {
    let mut out = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let escapes = |next: &char| special.contains(*next) || (dialect == Dialect::Influx3 && *next == '\\');
        match characters.peek() {
            Some(next) if character == '\\' && escapes(next) => out.extend(characters.next()),
            _ => out.push(character),
        }
    }
    out
}

fn parse(line: &str, dialect: Dialect) -> Parsed {
    assert!(!line.starts_with('#'), "a comment: {line}");
    let end = unescaped(line, &[',', ' ']);
    let name = unescape(&line[..end], ", ", dialect);
    let mut rest = &line[end..];
    let mut tags = Vec::new();
    while let Some(tag) = rest.strip_prefix(',') {
        let equals = unescaped(tag, &['=', ',', ' ']);
        assert_eq!(&tag[equals..=equals], "=", "a tag without a value: {line}");
        let value = &tag[equals + 1..];
        let end = unescaped(value, &['=', ',', ' ']);
        tags.push((unescape(&tag[..equals], ",= ", dialect), unescape(&value[..end], ",= ", dialect)));
        rest = &value[end..];
    }
    let [fields, timestamp] = rest.strip_prefix(' ').expect("fields follow").split(' ').collect::<Vec<_>>()[..] else {
        panic!("not fields and a timestamp: {rest}");
    };
    let fields = fields
        .split(',')
        .map(|field| field.split_once('=').expect("a field has a value"))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    Parsed { name, tags, fields, timestamp: timestamp.parse().expect("a timestamp is an integer") }
}

/// The documented rule, said again in another way.
fn rewritten(key: &SeriesKey) -> (String, Vec<(String, String)>) {
    let slashes = |text: &str| {
        let mut text = text.replace("\\,", "/,").replace("\\ ", "/ ").replace("\\=", "/=");
        if text.ends_with('\\') {
            text.replace_range(text.len() - 1.., "/");
        }
        text
    };
    let mut name = slashes(key.name());
    if name.starts_with('#') {
        name.replace_range(..1, "_");
    }
    let mut taken: Vec<String> = key.tags().map(|(key, _)| key.to_owned()).collect();
    let mut tags = Vec::new();
    for (key, value) in key.tags() {
        let mut new = slashes(key);
        if ["time", "_field", "_measurement"].contains(&new.as_str()) {
            new.push('_');
        }
        if new != key {
            while taken.contains(&new) {
                new.push('_');
            }
            taken.push(new.clone());
        }
        tags.push((new, slashes(value)));
    }
    (name, tags)
}

fn fields_of(block: &PointBlock, point: usize) -> BTreeMap<String, f64> {
    let place = block.distributions.iter().find(|(place, _)| *place as usize == point);
    let numbers: Vec<(String, Option<f64>)> = match place.map(|(_, distribution)| distribution) {
        None => vec![("value".into(), Some(block.values[point]))],
        Some(Distribution::Histogram(histogram)) => {
            let bounds = histogram.upper_bounds.iter().copied().chain([f64::INFINITY]);
            let upto = |bucket: usize| histogram.bucket_counts[..=bucket].iter().sum::<u64>() as f64;
            let names = bounds.map(|bound| if bound.is_infinite() { "+Inf".to_owned() } else { float(bound) });
            let buckets = names.enumerate().map(|(bucket, name)| (format!("le_{name}"), Some(upto(bucket))));
            [("count".into(), Some(histogram.count as f64)), ("sum".into(), Some(histogram.sum))]
                .into_iter()
                .chain([("min".into(), histogram.min), ("max".into(), histogram.max)])
                .chain(buckets)
                .collect()
        }
        Some(Distribution::Summary(summary)) => {
            let quantiles = summary.quantiles.iter().map(|q| (format!("q_{}", float(q.quantile)), Some(q.value)));
            [("count".into(), Some(summary.count as f64)), ("sum".into(), Some(summary.sum))]
                .into_iter()
                .chain(quantiles)
                .collect()
        }
    };
    numbers.into_iter().filter_map(|(name, number)| Some((name, number?))).collect()
}

fn float(number: f64) -> String {
    let mut out = Vec::new();
    write_float(&mut out, number);
    String::from_utf8(out).expect("digits are ASCII")
}

fn lines_of(lines: &Lines) -> Vec<String> {
    let text = String::from_utf8(lines.chunks.concat()).expect("UTF-8 stays UTF-8");
    // Not `lines()`: only a line feed ends a line there.
    text.split_terminator('\n').map(str::to_owned).collect()
}

fn line(descriptor: &std::sync::Arc<Descriptor>) -> (String, u64) {
    let mut encoder = LineEncoder::new(1_000);
    encoder.push(&block_of(std::slice::from_ref(descriptor)));
    let lines = encoder.finish();
    (lines_of(&lines).remove(0), lines.rewritten)
}

proptest! {
    #[test]
    fn lines_read_back_as_the_points(blocks in blocks(), bytes_max in 1_usize..400) {
        let mut encoder = LineEncoder::new(bytes_max);
        for block in &blocks {
            encoder.push(block);
        }
        let lines = encoder.finish();
        let mut expected_rewritten = 0;
        let mut texts = lines_of(&lines).into_iter();
        for block in &blocks {
            for point in 0..block.len() {
                let text = texts.next().ok_or_else(|| TestCaseError::fail("a line is missing"))?;
                let parsed = parse(&text, Dialect::Influx2);
                let key = &block.descriptors[block.descriptor_index[point] as usize].key;
                let (name, tags) = rewritten(key);
                let unchanged = name == key.name() && tags.iter().map(|(k, v)| (&**k, &**v)).eq(key.tags());
                expected_rewritten += u64::from(!unchanged);
                prop_assert_eq!(&parsed.name, &name);
                prop_assert_eq!(&parsed.tags, &tags);
                let mut keys: Vec<_> = tags.iter().map(|(key, _)| key).collect();
                keys.sort_unstable();
                keys.dedup();
                prop_assert_eq!(keys.len(), tags.len(), "a key stands twice");
                prop_assert_eq!(parsed.timestamp, block.timestamps_unix_ns[point]);
                let fields: BTreeMap<_, _> = parsed.fields.iter().map(|(name, value)| {
                    let whole = ["count"].contains(&&**name) || name.starts_with("le_");
                    assert_eq!(value.ends_with('i'), whole, "{name}={value}");
                    (name.clone(), value.trim_end_matches('i').parse::<f64>().expect("a number"))
                }).collect();
                prop_assert_eq!(fields, fields_of(block, point));
            }
        }
        prop_assert_eq!(texts.next(), None);
        prop_assert_eq!(lines.lines, blocks.iter().map(|block| block.len() as u64).sum::<u64>());
        prop_assert_eq!(lines.rewritten, expected_rewritten);
        for chunk in &lines.chunks {
            prop_assert!(chunk.ends_with(b"\n"));
            let single = chunk.split_last().is_some_and(|(_, line)| !line.contains(&b'\n'));
            prop_assert!(chunk.len() <= bytes_max || single);
        }
    }

    #[test]
    fn other_servers_find_the_same_parts(blocks in blocks()) {
        // They read two backslashes as one; every name, key and value ends where it ends for InfluxDB 2 nevertheless.
        for block in &blocks {
            let mut encoder = LineEncoder::new(usize::MAX);
            encoder.push(block);
            for text in lines_of(&encoder.finish()) {
                let (one, other) = (parse(&text, Dialect::Influx2), parse(&text, Dialect::Influx3));
                let single = |text: &str| unescape(text, "", Dialect::Influx3);
                prop_assert_eq!(single(&one.name), other.name);
                let tags: Vec<_> = one.tags.iter().map(|(key, value)| (single(key), single(value))).collect();
                prop_assert_eq!(tags, other.tags);
            }
        }
    }

    #[test]
    fn numbers_read_back_the_same(bits: u64) {
        let number = f64::from_bits(bits);
        if number.is_finite() {
            prop_assert_eq!(float(number).parse::<f64>().map(f64::to_bits), Ok(bits));
        }
    }
}

#[test]
fn specials_are_escaped_and_nothing_else() {
    let tags = [("a,b", "c d"), ("e=f", "g=h,i"), ("path", r"C:\dir"), ("q", "\"x'")];
    let (text, rewritten) = line(&descriptor("disk free,total=1", &tags, MetricType::Gauge));
    let expected = r#"disk\ free\,total=1,a\,b=c\ d,e\=f=g\=h\,i,path=C:\dir,q="x' value=0 1700000000000000000"#;
    assert_eq!((&*text, rewritten), (expected, 0));
}

#[test]
fn what_cannot_be_carried_is_rewritten_and_counted() {
    let cases = [
        ("m", &[("path", r"C:\")][..], "m,path=C:/"),
        (r"m\", &[], "m/"),
        ("m", &[(r"k\", "v")], "m,k/=v"),
        ("m", &[("a", r"x\,y")], r"m,a=x/\,y"),
        ("m", &[("a", r"x\ y\\ z\=")], r"m,a=x/\ y\/\ z/\="),
        ("#m", &[], "_m"),
        ("m", &[("time", "a"), ("time_", "b")], "m,time__=a,time_=b"),
        ("m", &[("_field", "a"), ("_measurement", "b")], "m,_field_=a,_measurement_=b"),
    ];
    for (name, tags, expected) in cases {
        let (text, rewritten) = line(&descriptor(name, tags, MetricType::Gauge));
        assert_eq!((text.split(" value").next(), rewritten), (Some(expected), 1));
    }
}

#[test]
fn numbers_have_their_shortest_form() {
    let cases =
        [(0.0, "0"), (-0.0, "-0"), (5.0, "5"), (0.1, "0.1"), (1e16, "1e+16"), (1e-7, "1e-7"), (1.5e300, "1.5e+300")];
    for (number, expected) in cases {
        assert_eq!(float(number), expected);
    }
}

#[test]
fn an_encoder_begins_anew_after_finishing() {
    let mut encoder = LineEncoder::new(1_000);
    assert_eq!(encoder.finish(), Lines::default());
    let block = block_of(&[descriptor("#m", &[], MetricType::Gauge)]);
    encoder.push(&block);
    let first = encoder.finish();
    encoder.push(&block);
    assert_eq!((encoder.finish(), first.lines, first.rewritten), (first, 1, 1));
}

#[test]
fn chunks_handed_over_early_are_the_same_lines() {
    let series: Vec<_> = (0..50).map(|i| descriptor("m", &[("i", &format!("{i}"))], MetricType::Gauge)).collect();
    let block = block_of(&series);
    let mut whole = LineEncoder::new(300);
    whole.push(&block);
    whole.push(&block);
    let whole = whole.finish();
    let mut encoder = LineEncoder::new(300);
    for _ in 0..2 {
        let mut chunks = Vec::new();
        for _ in 0..2 {
            encoder.push(&block);
            encoder.drain(|chunk| chunks.push(chunk.to_vec()));
        }
        let rest = encoder.finish();
        chunks.extend(rest.chunks);
        assert_eq!((chunks, rest.lines, rest.rewritten), (whole.chunks.clone(), whole.lines, whole.rewritten));
    }
}

#[test]
fn remembered_series_are_forgotten_when_they_are_too_many() {
    let value = "v".repeat(1_000);
    let mut encoder = LineEncoder::new(1 << 30);
    let mut remembered = |round: usize| {
        let series: Vec<_> =
            (0..1_000).map(|i| descriptor("m", &[("k", &format!("{round}.{i}{value}"))], MetricType::Gauge)).collect();
        encoder.push(&block_of(&series));
        assert!(lines_of(&encoder.finish())[999].starts_with(&format!("m,k={round}.999vv")));
        encoder.prefixes.all.len()
    };
    let counts: Vec<usize> = (0..2 * PREFIX_BYTES_MAX / 1_000_000).map(&mut remembered).collect();
    assert_eq!(counts[..30], (1..=30).map(|round| round * 1_000).collect::<Vec<_>>());
    assert!(counts.iter().all(|&count| count <= PREFIX_BYTES_MAX / 1_000));
    assert!(counts[30..].contains(&1_000), "{counts:?}");
}
