use super::*;
use crate::series::invalid::{Rule, TextFault};
use crate::series::key::write_key;
use proptest::prelude::*;
use std::collections::BTreeMap;

type OwnedTag = (Vec<u8>, Vec<u8>);

fn borrowed(tags: &[OwnedTag]) -> Vec<RawTag<'_>> {
    tags.iter().map(|(key, value)| (&key[..], &value[..])).collect()
}

fn is_valid(bytes: &[u8], bytes_max: usize) -> bool {
    let text = std::str::from_utf8(bytes);
    (1..=bytes_max).contains(&bytes.len()) && text.is_ok_and(|text| !text.chars().any(|c| c < ' ' || c == '\x7f'))
}

/// The contract said plainly: which rule is broken first, or the canonical bytes.
fn expected(name: &[u8], own: &[OwnedTag], common: &[OwnedTag], node: &[u8]) -> Result<Vec<u8>, Rule> {
    if !is_valid(name, 255) {
        return Err(Rule::Name);
    }
    for list in [own, common] {
        let distinct: BTreeMap<_, _> = list.iter().cloned().collect();
        let valid = list.iter().all(|(key, value)| is_valid(key, 128) && is_valid(value, 1_024));
        if !valid || distinct.len() != list.len() {
            return Err(Rule::Tag);
        }
    }
    let mut effective: BTreeMap<_, _> = common.iter().cloned().collect();
    effective.extend(own.iter().cloned());
    if effective.len() > 64 {
        return Err(Rule::Tag);
    }
    effective.entry(NODE_ID.to_vec()).or_insert_with(|| node.to_vec());
    let mut key = Vec::new();
    write_key(&mut key, name, effective.iter().map(|(key, value)| (&key[..], &value[..])));
    Ok(key)
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        30 => "[a-c]{1,3}".prop_map(String::into_bytes),
        5 => "[a-z_]{7,9}".prop_map(String::into_bytes),
        3 => Just(NODE_ID.to_vec()),
        3 => "[ -~]{1,20}".prop_map(String::into_bytes),
        3 => "\\PC{1,12}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..12),
        1 => (120_usize..140).prop_map(|length| vec![b'k'; length]),
        1 => (1_020_usize..1_030).prop_map(|length| vec![b'v'; length]),
    ]
}

fn tags() -> impl Strategy<Value = Vec<OwnedTag>> {
    prop_oneof![
        8 => prop::collection::vec((text(), text()), 0..6),
        1 => prop::collection::btree_map("[a-d]{1,4}".prop_map(String::into_bytes), text(), 25..45)
            .prop_map(|tags| tags.into_iter().collect::<Vec<_>>())
            .prop_shuffle(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn keys_and_refusals_are_those_of_the_contract(name in text(), own in tags(), common in tags()) {
        let mut prepared = CommonTags::default();
        prepared.update(&borrowed(&common), b"node-1");
        let mut keys = KeyBuilder::default();
        let built = keys.build(&name, &borrowed(&own), &prepared);
        let built = built.map(|key| key.as_bytes().to_vec()).map_err(InvalidSeries::rule);
        prop_assert_eq!(&built, &expected(&name, &own, &common, b"node-1"));
        if let Ok(key) = built {
            prop_assert!(KeyRef::from_canonical(&key).is_ok());
        }
    }

    #[test]
    fn prefixes_order_like_keys(a in prop::collection::vec(1_u8.., 0..12), b in prop::collection::vec(1_u8.., 0..12)) {
        let by_prefix = (prefix(&a), &a).cmp(&(prefix(&b), &b));
        prop_assert_eq!(by_prefix, a.cmp(&b));
    }

    #[test]
    fn the_order_of_tags_makes_no_difference(tags in prop::collection::btree_map("[a-c]{1,9}", "[a-c]{1,3}", 0..12), seed in any::<prop::sample::Index>()) {
        let sorted: Vec<OwnedTag> = tags.into_iter().map(|(k, v)| (k.into_bytes(), v.into_bytes())).collect();
        let mut rotated = sorted.clone();
        rotated.reverse();
        let middle = if rotated.is_empty() { 0 } else { seed.index(rotated.len()) };
        rotated.rotate_left(middle);
        let mut common = CommonTags::default();
        common.update(&[], b"n");
        let (mut one, mut other) = (KeyBuilder::default(), KeyBuilder::default());
        prop_assert_eq!(one.build(b"m", &borrowed(&sorted), &common), other.build(b"m", &borrowed(&rotated), &common));
    }
}

#[test]
fn sixty_four_tags_fit_beside_a_node_id_that_is_filled_in() {
    let tags: Vec<OwnedTag> = (0..65).map(|i| (format!("k{i:02}").into_bytes(), b"v".to_vec())).collect();
    let mut common = CommonTags::default();
    common.update(&borrowed(&tags[32..64]), b"n");
    let mut keys = KeyBuilder::default();
    let key = keys.build(b"m", &borrowed(&tags[..32]), &common).expect("64 tags are allowed").to_key();
    assert_eq!((key.tags().count(), key.tag("node_id")), (65, Some("n")));
    let own: Vec<_> = tags[..32].iter().chain(&tags[64..]).cloned().collect();
    assert_eq!(keys.build(b"m", &borrowed(&own), &common), Err(InvalidSeries::TooManyTags));
    // A tag that both lists have counts once.
    assert!(keys.build(b"m", &borrowed(&tags[..33]), &common).is_ok());
}

#[test]
fn the_largest_key_fits_the_buffer() {
    let tags: Vec<OwnedTag> =
        (0..64).map(|i| (format!("{i:0>128}").into_bytes(), vec![b'v'; limits::TAG_VALUE_BYTES_MAX])).collect();
    let mut common = CommonTags::default();
    common.update(&borrowed(&tags), &[b'n'; limits::TAG_VALUE_BYTES_MAX]);
    let mut keys = KeyBuilder::default();
    assert!(keys.build(&[b'm'; limits::NAME_BYTES_MAX], &[], &common).is_ok());
    assert!(keys.build(&[b'm'; limits::NAME_BYTES_MAX], &borrowed(&tags), &common).is_ok());
}

#[test]
fn the_first_broken_rule_is_named() {
    let mut bad = CommonTags::default();
    bad.update(&[(b"a", b"\x01")], b"n");
    let mut keys = KeyBuilder::default();
    assert_eq!(keys.build(b"", &[], &bad), Err(InvalidSeries::NameLength));
    assert_eq!(keys.build(b"\xff", &[], &bad), Err(InvalidSeries::NameText(TextFault::Utf8)));
    assert_eq!(keys.build(b"m", &[], &bad), Err(InvalidSeries::TagValueText(TextFault::Control)));
    bad.update(&[], b"no\nde");
    assert_eq!(keys.build(b"m", &[], &bad), Err(InvalidSeries::TagValueText(TextFault::Control)));
    // A node that is filled in for nobody harms nobody; common tags without node_id do need it.
    bad.update(&[(NODE_ID, b"n")], b"no\nde");
    assert!(keys.build(b"m", &[], &bad).is_ok());
}

#[test]
fn the_version_changes_with_the_tags_and_only_then() {
    let mut common = CommonTags::default();
    common.update(&[], b"n");
    let first = common.version();
    common.update(&[], b"n");
    assert_eq!(common.version(), first);
    common.update(&[(b"a", b"b")], b"n");
    let second = common.version();
    assert_ne!(second, first);
    common.update(&[(b"ab", b"")], b"n");
    assert_ne!(common.version(), second);
    assert_eq!(common.fault(), Some(InvalidSeries::TagValueLength));
}

#[test]
fn claims_follow_the_effective_tags() {
    let of = |tags: &[RawTag<'_>]| NodeClaim::of(tags, b"n");
    assert_eq!(of(&[(b"a", b"n")]), NodeClaim::Absent);
    assert_eq!(of(&[(b"a", b"x"), (NODE_ID, b"n")]), NodeClaim::Same);
    assert_eq!(of(&[(NODE_ID, b"n"), (NODE_ID, b"x")]), NodeClaim::Other);
    assert_eq!(NodeClaim::Absent.or(NodeClaim::Other), NodeClaim::Other);
    assert_eq!(NodeClaim::Same.or(NodeClaim::Other), NodeClaim::Same);
    let mut common = CommonTags::default();
    common.update(&[(b"a", b"x")], b"n");
    assert_eq!(common.claim(), NodeClaim::Absent);
}

#[test]
fn common_tags_that_every_point_is_refused_for_are_not_held() {
    let long = vec![(b"key".to_vec(), vec![b'v'; 16 * 1024 * 1024])];
    let many: Vec<OwnedTag> = (0..100_000_u32).map(|number| (number.to_string().into_bytes(), b"v".to_vec())).collect();
    let mut common = CommonTags::default();
    for tags in [long, many] {
        for _ in 0..2 {
            common.update(&borrowed(&tags), b"node-1");
            assert_eq!(common.fault().map(InvalidSeries::rule), Some(Rule::Tag));
            let held = common.given.capacity() + common.encoded.capacity() + size_of_val(&*common.tags);
            assert!(held < 256 * 1024, "{held} bytes");
        }
    }
    common.update(&[(b"zone", b"a")], b"node-1");
    assert_eq!((common.fault(), common.claim()), (None, NodeClaim::Absent));
}
