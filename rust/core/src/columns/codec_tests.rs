use super::*;
use crate::columns::testing::{block_of, blocks, descriptor};
use crate::series::MetricType;
use proptest::prelude::*;

fn encoded(block: &PointBlock) -> Vec<u8> {
    let mut bytes = Vec::new();
    BlockEncoder::new().expect("there is memory").encode(block, &mut bytes).expect("the block is small");
    bytes
}

fn decoded(bytes: &[u8]) -> Result<PointBlock, DecodeError> {
    BlockDecoder::new().expect("there is memory").decode(bytes)
}

fn many_series(count: usize) -> PointBlock {
    let descriptors: Vec<_> = (0..count)
        .map(|i| {
            descriptor("node.disk.io", &[("device", &format!("dev{i}")), ("host", "node-0001")], MetricType::Counter)
        })
        .collect();
    block_of(&descriptors)
}

proptest! {
    #[test]
    fn every_block_comes_back_as_it_was(blocks in blocks()) {
        let mut encoder = BlockEncoder::new().expect("there is memory");
        let mut decoder = BlockDecoder::new().expect("there is memory");
        for block in blocks.iter().chain(&blocks) {
            let mut bytes = b"what stood before".to_vec();
            prop_assert_eq!(encoder.encode(block, &mut bytes), Ok(()));
            let body = bytes.strip_prefix(b"what stood before").expect("encoding appends");
            let read = decoder.decode(body);
            prop_assert_eq!(read.as_ref(), Ok(block));
            // What an encoder remembers saves time and changes nothing.
            prop_assert_eq!(body, encoded(block));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let _ = decoded(&bytes);
        let _ = decoded(&[&[VERSION], &bytes[..]].concat());
    }

    #[test]
    fn damage_is_an_error_or_another_valid_block(blocks in blocks(), place: prop::sample::Index, flip in 1_u8.., cut: prop::sample::Index) {
        for block in &blocks {
            let mut bytes = encoded(block);
            let end = cut.index(bytes.len());
            prop_assert!(decoded(&bytes[..end]).is_err(), "a part is not the whole");
            let place = place.index(bytes.len());
            bytes[place] ^= flip;
            if let Ok(other) = decoded(&bytes) {
                prop_assert!(other.descriptor_index.iter().all(|&index| (index as usize) < other.descriptors.len()));
                prop_assert_eq!(other.timestamps_unix_ns.len(), other.values.len());
                prop_assert_eq!(decoded(&encoded(&other)).map(|again| again.values.len()), Ok(other.values.len()));
            }
        }
    }
}

#[test]
fn large_series_sections_are_compressed_and_cut_anywhere_are_errors() {
    let block = many_series(500);
    let bytes = encoded(&block);
    assert!(bytes.len() < 500 * (8 + 12), "{} bytes", bytes.len());
    assert_eq!(decoded(&bytes), Ok(block));
    for end in 0..bytes.len() {
        assert!(decoded(&bytes[..end]).is_err());
    }
}

#[test]
fn series_that_an_encoder_remembers_are_told_apart() {
    let mut encoder = BlockEncoder::new().expect("there is memory");
    let (one, other) = (many_series(50), many_series(50));
    let mut fewer = one.clone();
    fewer.descriptors = fewer.descriptors[..49].into();
    fewer.descriptor_index.truncate(49);
    fewer.timestamps_unix_ns.truncate(49);
    fewer.values.truncate(49);
    let mut turned = one.clone();
    turned.descriptors = turned.descriptors.iter().rev().cloned().collect();
    for block in [&one, &other, &fewer, &turned, &one, &turned, &fewer] {
        let mut bytes = Vec::new();
        encoder.encode(block, &mut bytes).expect("the block is small");
        assert_eq!(decoded(&bytes), Ok(block.clone()));
    }
}

#[test]
fn equal_series_of_two_blocks_are_one_in_memory() {
    let mut decoder = BlockDecoder::new().expect("there is memory");
    let bytes = encoded(&many_series(3));
    let (one, other) = (decoder.decode(&bytes).expect("valid"), decoder.decode(&bytes).expect("valid"));
    assert!(one.descriptors.iter().zip(other.descriptors.iter()).all(|(one, other)| Arc::ptr_eq(one, other)));
    assert!(Arc::ptr_eq(&one.identity, &other.identity));
}

#[test]
fn a_newer_version_is_named() {
    let mut bytes = encoded(&many_series(1));
    bytes[0] = 2;
    assert_eq!(decoded(&bytes), Err(DecodeError::UnknownVersion(2)));
    assert_eq!(decoded(&[]), Err(DecodeError::Damaged("version")));
}

#[test]
fn counts_that_the_record_cannot_hold_allocate_nothing() {
    let mut bytes = vec![VERSION, 0];
    bytes.extend([0; 8]);
    bytes.extend([0, 0, 0]);
    for count in [u64::from(u32::MAX), u64::from(u32::MAX), 0] {
        varint::write(&mut bytes, count);
    }
    assert_eq!(decoded(&bytes), Err(DecodeError::Damaged("counts")));
}

#[test]
fn a_record_of_version_one_is_read_for_ever() {
    // One gauge `m` with the tag a=b, unit s, delta; epoch 1, sequence 2, oldest 1, received and timed at 3 µs, value 1.5.
    let bytes = [
        &[1][..],
        b"\x02id",
        &1_u64.to_le_bytes(),
        &[2, 1, 6, 1, 1, 0],
        &[10, 0],
        b"\x06\x01m\x01a\x01b\x82\x01s",
        &[0],
        &[0, 0],
        &1.5_f64.to_le_bytes(),
    ]
    .concat();
    let block = decoded(&bytes).expect("this is version 1");
    let key = &block.descriptors[0].key;
    assert_eq!((key.name(), key.tag("a"), &*block.descriptors[0].unit), ("m", Some("b"), "s"));
    assert_eq!((block.descriptors[0].metric_type, block.descriptors[0].delta), (MetricType::Gauge, true));
    assert_eq!((&*block.identity, block.epoch, block.sequence, block.oldest_unacknowledged), ("id", 1, 2, 1));
    assert_eq!((block.received_unix_us, block.timestamps_unix_ns, block.values), (3, vec![3_000], vec![1.5]));
    assert_eq!(encoded(&decoded(&bytes).expect("as before")), bytes);
}
