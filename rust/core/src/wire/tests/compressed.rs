//! Compressed bodies: one member or frame, of the declared size, in a batch of nothing else.

use std::io::Write;

use flate2::write::GzEncoder;

use super::{bytes, fault, fault_of, fixed, malformed, message, number, tag};
use crate::limits::Limits;
use crate::wire::decode::{DecodeScratch, Fault, decode};
use crate::wire::proto::WireFault;

const GZIP: u64 = 1;
const ZSTD: u64 = 2;
const NOT_GZIP: Fault = Fault::NotCompressed("gzip member");
const NOT_ZSTD: Fault = Fault::NotCompressed("zstd frame");

fn gzip(contents: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(contents).expect("memory");
    encoder.finish().expect("memory")
}

fn zstd(contents: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(contents, 1).expect("memory")
}

fn compressed(algorithm: u64, size: usize, body: &[u8]) -> Vec<u8> {
    message(8, [number(1, algorithm), number(2, size as u64), bytes(3, body)])
}

fn sound(frame: &[u8]) -> usize {
    decode(frame, &Limits::default(), &mut DecodeScratch::default()).expect("sound").points
}

/// Contents of `metrics` empty metrics.
fn contents(metrics: usize) -> Vec<u8> {
    [0x22, 0].repeat(metrics)
}

#[test]
fn a_body_of_the_declared_size_is_read() {
    for size in [0, 1, 100, 50_000, 400_000] {
        let plain = contents(size);
        assert_eq!(sound(&compressed(GZIP, plain.len(), &gzip(&plain))), size);
        assert_eq!(sound(&compressed(ZSTD, plain.len(), &zstd(&plain))), size);
    }
}

#[test]
fn a_scratch_serves_one_body_after_the_other_also_after_a_fault() {
    let mut scratch = DecodeScratch::default();
    let limits = Limits::default();
    for size in [3, 700_000, 1, 0, 2] {
        let plain = contents(size);
        for (algorithm, body) in [(GZIP, gzip(&plain)), (ZSTD, zstd(&plain))] {
            let frame = compressed(algorithm, plain.len(), &body);
            assert_eq!(decode(&frame, &limits, &mut scratch).expect("sound").points, size);
            let cut_short = compressed(algorithm, plain.len(), &body[..body.len() - 1]);
            decode(&cut_short, &limits, &mut scratch).expect_err("cut short");
        }
    }
}

#[test]
fn the_declared_size_is_checked_before_anything_is_inflated() {
    let limits = Limits { inflated_bytes_max: 10, ..Limits::default() };
    for algorithm in [GZIP, ZSTD] {
        let too_large = malformed(0, Fault::InflatedTooLarge { declared: 11, bytes_max: 10 });
        assert_eq!(fault_of(&compressed(algorithm, 11, b"never read"), &limits), too_large);
    }
    assert_eq!(
        decode(&compressed(GZIP, 10, &gzip(&contents(5))), &limits, &mut DecodeScratch::default()).map(|it| it.points),
        Ok(5)
    );
}

#[test]
fn another_size_than_declared_is_malformed() {
    let plain = contents(50_000);
    for (algorithm, body) in [(GZIP, gzip(&plain)), (ZSTD, zstd(&plain))] {
        for declared in [0, 1, plain.len() - 1, plain.len() + 1, 16 * 1024 * 1024] {
            let differs = Fault::InflatedSizeDiffers { declared: declared as u32 };
            assert_eq!(fault([compressed(algorithm, declared, &body)]), malformed(0, differs), "{declared}");
        }
    }
}

#[test]
fn a_bomb_costs_no_more_than_it_declares() {
    let bomb = vec![0; 64 * 1024 * 1024];
    for (algorithm, body) in [(GZIP, gzip(&bomb)), (ZSTD, zstd(&bomb))] {
        let mut scratch = DecodeScratch::default();
        let frame = compressed(algorithm, 1_000, &body);
        decode(&frame, &Limits::default(), &mut scratch).expect_err("larger than declared");
        assert!(format!("{scratch:?}").contains("buffer_bytes: 1001"), "inflating stops one byte beyond: {scratch:?}");
    }
}

#[test]
fn exactly_one_member_or_frame() {
    let (plain, empty) = (contents(9), &[][..]);
    let (member, frame) = (gzip(&plain), zstd(&plain));
    let behind = malformed(0, Fault::BytesBehindCompressed);
    for more in [&b"\0"[..], &gzip(empty), &member] {
        assert_eq!(fault([compressed(GZIP, plain.len(), &[&member, more].concat())]), behind);
    }
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 7];
    for more in [&b"\0"[..], &zstd(empty), &skippable] {
        assert_eq!(fault([compressed(ZSTD, plain.len(), &[&frame, more].concat())]), behind);
    }
    let before = [&skippable[..], &frame].concat();
    assert_eq!(fault([compressed(ZSTD, plain.len(), &before)]), malformed(0, NOT_ZSTD), "none of them skippable");
    for (algorithm, fault_of_it) in [(GZIP, NOT_GZIP), (ZSTD, NOT_ZSTD)] {
        assert_eq!(fault([compressed(algorithm, 0, empty)]), malformed(0, fault_of_it), "none at all");
    }
}

#[test]
fn damaged_or_other_data_is_malformed() {
    let plain = contents(9);
    let (member, frame) = (gzip(&plain), zstd(&plain));
    for cut in 0..member.len() {
        assert_eq!(fault([compressed(GZIP, plain.len(), &member[..cut])]), malformed(0, NOT_GZIP), "{cut} bytes");
    }
    for cut in 0..frame.len() {
        assert_eq!(fault([compressed(ZSTD, plain.len(), &frame[..cut])]), malformed(0, NOT_ZSTD), "{cut} bytes");
    }
    let mut checksum = member.clone();
    checksum[member.len() - 8] ^= 1;
    assert_eq!(fault([compressed(GZIP, plain.len(), &checksum)]), malformed(0, NOT_GZIP));
    assert_eq!(fault([compressed(GZIP, plain.len(), &frame)]), malformed(0, NOT_GZIP));
    assert_eq!(fault([compressed(ZSTD, plain.len(), &member)]), malformed(0, NOT_ZSTD));
}

#[test]
fn a_zstd_frame_has_no_dictionary_and_a_window_of_8_mib_at_most() {
    let frame_with = |header: &[u8]| [&[0x28, 0xb5, 0x2f, 0xfd], header, &[0x01, 0, 0]].concat();
    let of = |header: &[u8], size| fault([compressed(ZSTD, size, &frame_with(header))]).fault;
    // Descriptor, then window, dictionary id, content size.
    assert_eq!(of(&[0x01, 0x00, 0x07], 0), Fault::ZstdDictionary);
    assert_eq!(of(&[0x23, 0, 0, 0, 0x80, 0], 0), Fault::ZstdDictionary, "in a single segment");
    assert_eq!(of(&[0x00, 13 << 3 | 1], 0), Fault::ZstdWindow, "9 MiB");
    assert_eq!(of(&[0x00, 0xff], 0), Fault::ZstdWindow);
    let single_segment = [&[0xa0][..], &(8 * 1024 * 1024 + 1_u32).to_le_bytes()].concat();
    assert_eq!(of(&single_segment, 8 * 1024 * 1024 + 1), Fault::ZstdWindow, "a single segment's window is its size");
    // Just allowed: 8 MiB, and a dictionary id of 0, which names none.
    assert_eq!(sound(&compressed(ZSTD, 0, &frame_with(&[0x00, 13 << 3]))), 0);
    assert_eq!(sound(&compressed(ZSTD, 0, &frame_with(&[0x01, 0x00, 0x00]))), 0);
}

#[test]
fn other_algorithms_are_malformed() {
    for algorithm in [0, 3, 1 << 31] {
        let unknown = Fault::UnknownAlgorithm(algorithm as u32);
        assert_eq!(fault([compressed(algorithm, 0, &gzip(&[]))]), malformed(0, unknown));
    }
    assert_eq!(fault([bytes(8, [])]), malformed(0, Fault::UnknownAlgorithm(0)), "an empty message is one too");
}

#[test]
fn nothing_else_stands_beside_a_compressed_body() {
    let body = compressed(GZIP, 0, &gzip(&[]));
    for beside in [tag(3, "k", "v"), bytes(3, []), bytes(4, []), bytes(5, []), bytes(6, []), bytes(7, [])] {
        let outcome = malformed(7, Fault::CompressedBesideContents);
        assert_eq!(fault([number(1, 7), body.clone(), beside.clone()]), outcome, "{beside:02x?}");
        assert_eq!(fault([number(1, 7), beside, body.clone()]), outcome, "in front of it");
    }
    let name = [number(1, 7), fixed(2, 3), number(9, 7)].concat();
    assert_eq!(sound(&[name, body.clone(), number(15, 1)].concat()), 0, "its name and unknown fields do");
    assert_eq!(sound(&[body, number(4, 1)].concat()), 0, "as does a known number with another wire type");
}

#[test]
fn neither_name_nor_compressed_body_stand_inside_one() {
    let inside = |contents: Vec<u8>| fault([number(1, 7), compressed(GZIP, contents.len(), &gzip(&contents))]);
    for name in [number(1, 7), fixed(2, 1), number(9, 1)] {
        assert_eq!(inside(name), malformed(7, Fault::NameInsideCompressed));
    }
    assert_eq!(inside(compressed(GZIP, 0, &gzip(&[]))), malformed(7, Fault::CompressedTwice));
    assert_eq!(inside(bytes(8, [])), malformed(7, Fault::CompressedTwice));
    assert_eq!(inside(bytes(4, [0x0c])), malformed(7, Fault::Wire(WireFault::InvalidKey)));
    let absent = [number(1, 0), fixed(2, 0), number(9, 0)].concat();
    assert_eq!(sound(&compressed(GZIP, absent.len(), &gzip(&absent))), 0, "0 is absence");
}

#[test]
fn occurrences_of_the_body_merge() {
    let parts = [message(8, [number(1, GZIP), number(2, 2)]), message(8, [bytes(3, gzip(&contents(1)))])];
    assert_eq!(sound(&parts.concat()), 1);
}
