//! What stands at a file's end: its schema, and where each column of each row group is.

use super::pages::{DATA_PAGE, DICTIONARY_PAGE, Encoding, PageBytes};
use super::schema::{Leaf, Tree};
use super::thrift::Struct;

/// Of the format, as the footer names it: the second, to which codes of a dictionary belong.
const FORMAT_VERSION: i32 = 2;
/// Whose work it is; readers know bugs by this text, and by its form.
const CREATED_BY: &str = concat!("telemetry-collector version ", env!("CARGO_PKG_VERSION"), " (build)");

/// A column of a row group, written.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// Where its first page is.
    pub(super) offset: u64,
    pub(super) nulls: u64,
    pub(super) statistics: Option<Statistics>,
    values: u64,
    bytes: PageBytes,
    dictionary_bytes: u64,
    /// Data pages, by what they hold.
    code_pages: usize,
    plain_pages: usize,
}

/// The least and the greatest value as the format has them, where there are any.
#[derive(Debug, Default)]
pub(super) struct Statistics {
    pub(super) bounds: Option<(Vec<u8>, Vec<u8>)>,
}

/// A row group, written.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) rows: u64,
    pub(super) chunks: Vec<Chunk>,
}

impl Chunk {
    /// Counts a page.
    pub(super) fn add(&mut self, values: usize, encoding: Encoding, bytes: PageBytes) {
        self.values += values as u64;
        self.bytes += bytes;
        self.code_pages += usize::from(encoding == Encoding::Dictionary);
        self.plain_pages += usize::from(encoding == Encoding::Plain);
    }

    /// Counts the dictionary's page, which comes first in the file.
    pub(super) fn add_dictionary(&mut self, bytes: PageBytes) {
        self.bytes += bytes;
        self.dictionary_bytes = bytes.packed;
    }

    pub(super) fn has_codes(&self) -> bool {
        self.code_pages > 0
    }

    /// Pages of each kind: the numbers of their type and encoding, and how many.
    fn page_counts(&self) -> Vec<(i32, i32, usize)> {
        let dictionaries = usize::from(self.has_codes());
        let mut counts = vec![
            (DICTIONARY_PAGE, Encoding::Plain as i32, dictionaries),
            (DATA_PAGE, Encoding::Dictionary as i32, self.code_pages),
            (DATA_PAGE, Encoding::Plain as i32, self.plain_pages),
        ];
        counts.retain(|&(_, _, pages)| pages > 0);
        counts
    }

    fn write(&self, leaf: &Leaf, codec: i32, out: &mut Struct<'_>) {
        let mut encodings = vec![Encoding::Levels as i32];
        if self.has_codes() {
            encodings.push(Encoding::Dictionary as i32);
        }
        // A dictionary's own page is plain.
        encodings.push(Encoding::Plain as i32);
        out.i32(1, leaf.physical.number());
        out.i32s(2, &encodings);
        out.binaries(3, &leaf.path);
        out.i32(4, codec);
        out.i64(5, self.values as i64);
        out.i64(6, self.bytes.unpacked as i64);
        out.i64(7, self.bytes.packed as i64);
        out.i64(9, (self.offset + self.dictionary_bytes) as i64);
        if self.has_codes() {
            out.i64(11, self.offset as i64);
        }
        if let Some(statistics) = &self.statistics {
            out.nested(12, |out| {
                out.i64(3, self.nulls as i64);
                if let Some((least, greatest)) = &statistics.bounds {
                    out.binary(5, greatest);
                    out.binary(6, least);
                }
            });
        }
        // Where all data pages have codes, readers may skip the chunk by its dictionary alone.
        out.structs(13, &self.page_counts(), |out, &(kind, encoding, pages)| {
            out.i32(1, kind);
            out.i32(2, encoding);
            out.i32(3, pages as i32);
        });
    }
}

/// The footer's bytes, without its length and the magic number.
pub(super) fn encode(tree: &Tree, metadata: &[(String, String)], groups: &[Group], codec: i32) -> Vec<u8> {
    let mut out = Vec::new();
    let mut footer = Struct::new(&mut out);
    let rows: u64 = groups.iter().map(|group| group.rows).sum();
    footer.i32(1, FORMAT_VERSION);
    let mut is_root = true;
    footer.structs(2, &tree.elements, |out, element| {
        element.write(out, is_root);
        is_root = false;
    });
    footer.i64(3, rows as i64);
    footer.structs(4, groups, |out, group| {
        let columns: Vec<_> = group.chunks.iter().zip(&tree.leaves).collect();
        let total = |bytes: fn(&PageBytes) -> u64| group.chunks.iter().map(|chunk| bytes(&chunk.bytes)).sum::<u64>();
        out.structs(1, &columns, |out, (chunk, leaf)| {
            out.i64(2, chunk.offset as i64);
            out.nested(3, |out| chunk.write(leaf, codec, out));
        });
        out.i64(2, total(|bytes| bytes.unpacked) as i64);
        out.i64(3, group.rows as i64);
        out.i64(5, group.chunks.first().map_or(0, |chunk| chunk.offset) as i64);
        out.i64(6, total(|bytes| bytes.packed) as i64);
    });
    footer.structs(5, metadata, |out, (key, value)| {
        out.binary(1, key.as_bytes());
        out.binary(2, value.as_bytes());
    });
    footer.binary(6, CREATED_BY.as_bytes());
    // The order of a type's own values, without which no reader may use the bounds.
    footer.structs(7, &tree.leaves, |out, _| out.nested(1, |_| {}));
    footer.end();
    out
}
