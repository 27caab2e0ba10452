//! Record batches as a Parquet file, encoded for what a dataset of points is like.
//!
//! ```text
//! record batch ─► rows (a leaf's values and levels) ─► column (codes of a page) ─► pages ─► row group ─► footer
//! ```
//!
//! Most columns stand still for a batch or are dictionaries already, so a point costs a few numbers: its place in a
//! dictionary that was made for the row group, and the bits of that place. Rows are encoded as they come. What is held
//! of a row group is its finished pages, its dictionaries, and the codes of one page, which is a twentieth of the columns
//! in memory; so groups can be large, and their dictionaries pay.
//!
//! Every text column is a dictionary. Numbers are, too, until their dictionary is of no use or too large; the pages that
//! follow then hold them as they are. There is no I/O here: finished bytes are handed out.

mod column;
mod dictionary;
mod footer;
mod hybrid;
mod pages;
mod rows;
mod schema;
mod thrift;

use std::io;

use arrow_array::{Array as _, RecordBatch};
use arrow_schema::{Field, Schema, SchemaRef};

use self::column::Column;
use self::footer::Group;
pub use self::pages::Compression;
use self::pages::PageWriter;
use self::schema::Tree;

/// Rows of a page at most.
const PAGE_ROWS_MAX: usize = 65_536;
/// Bytes of a page's codes after which it is ended, however few its rows.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Rows that go through all columns at a time: by so many are bounds of bytes exceeded.
const SLICE_ROWS_MAX: usize = 8_192;
/// Elements that these rows may have in one list column: one push may bring a thousand buckets a row.
const SLICE_ELEMENTS_MAX: usize = 65_536;

const MAGIC: &[u8; 4] = b"PAR1";

/// A column of a type that points do not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column} has the type {data_type}, which is not written to Parquet here")]
pub struct Unsupported {
    column: String,
    data_type: String,
}

impl Unsupported {
    fn of(field: &Field) -> Self {
        Self { column: field.name().clone(), data_type: field.data_type().to_string() }
    }
}

/// Rows that were not taken.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// They have other columns than the file.
    #[error("the rows' columns are not the file's: {0}")]
    OtherSchema(String),
    /// A column that every row of the file has is missing in some.
    #[error("column {0} is not nullable, and {1} of its values are null")]
    Null(String, usize),
    /// The compressor failed, which only a lack of memory can cause.
    #[error("a page cannot be compressed: {0}")]
    Compression(#[from] io::Error),
}

/// What a developer passes.
#[derive(Clone, Debug)]
pub struct FileSettings {
    /// How pages are compressed.
    pub compression: Compression,
    /// Columns, with dots where they are nested, whose bounds and nulls readers are told.
    pub statistics: Vec<String>,
    /// Rows of a row group, at least one.
    pub group_rows_max: usize,
    /// Bytes in memory after which a row group is ended, however few its rows.
    pub group_bytes_max: usize,
}

/// A file being encoded.
pub struct FileEncoder {
    schema: SchemaRef,
    group_rows_max: usize,
    group_bytes_max: usize,
    tree: Tree,
    columns: Vec<Column>,
    writer: PageWriter,
    groups: Vec<Group>,
    page_rows: usize,
    group_rows: usize,
    /// Bytes of the file that were handed out.
    offset: u64,
    /// Bytes of it that were not.
    out: Vec<u8>,
}

impl FileEncoder {
    /// A file of this schema.
    ///
    /// # Errors
    /// [`Unsupported`] for a column of a type that points do not have.
    ///
    /// # Panics
    /// Where the compression library does not get its memory.
    pub fn new(schema: SchemaRef, settings: &FileSettings) -> Result<Self, Unsupported> {
        let tree = Tree::of(&schema)?;
        let columns = tree
            .leaves
            .iter()
            .map(|leaf| Column::new(leaf.clone(), settings.statistics.contains(&leaf.path.join("."))))
            .collect();
        Ok(Self {
            schema,
            group_rows_max: settings.group_rows_max.max(1),
            group_bytes_max: settings.group_bytes_max,
            tree,
            columns,
            writer: PageWriter::new(settings.compression)
                .expect("the compression library gets its memory or nothing works"),
            groups: Vec::new(),
            page_rows: 0,
            group_rows: 0,
            offset: 0,
            out: MAGIC.to_vec(),
        })
    }

    /// Bytes that the row group in the making takes in memory.
    #[must_use]
    pub fn group_bytes(&self) -> usize {
        self.columns.iter().map(Column::group_bytes).sum()
    }

    /// Takes rows, and ends pages and row groups that are full.
    ///
    /// # Errors
    /// [`WriteError`]; the file is of no use then, unless the rows had another schema or a null too many.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<(), WriteError> {
        self.check(batch)?;
        self.columns.iter_mut().for_each(Column::forget_places);
        let mut at = 0;
        while at < batch.num_rows() {
            let room = (PAGE_ROWS_MAX - self.page_rows).min(self.group_rows_max - self.group_rows).min(SLICE_ROWS_MAX);
            let slice = slice(batch, at, room.min(batch.num_rows() - at));
            let count = slice.num_rows();
            let mut columns = self.columns.iter_mut();
            for (field, array) in self.schema.fields().iter().zip(slice.columns()) {
                rows::add(array, field.is_nullable(), &mut columns);
            }
            at += count;
            self.page_rows += count;
            self.group_rows += count;
            let page_bytes: usize = self.columns.iter().map(Column::page_bytes).max().unwrap_or(0);
            let is_full = self.columns.iter().any(Column::dictionary_is_full);
            if self.page_rows == PAGE_ROWS_MAX || page_bytes >= PAGE_BYTES_MAX || is_full {
                self.end_page()?;
            }
            if self.group_rows == self.group_rows_max || self.group_bytes() >= self.group_bytes_max {
                self.end_group()?;
            }
        }
        Ok(())
    }

    /// The file's bytes that are finished and were not taken yet.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        self.offset += self.out.len() as u64;
        std::mem::take(&mut self.out)
    }

    /// Ends the file with this metadata of its own; its last bytes.
    ///
    /// # Errors
    /// [`WriteError`]; the file is of no use then.
    pub fn finish(mut self) -> Result<Vec<u8>, WriteError> {
        self.end_group()?;
        let mut metadata: Vec<_> = self.schema.metadata().clone().into_iter().collect();
        metadata.sort();
        let footer = footer::encode(&self.tree, &metadata, &self.groups, self.writer.codec());
        self.out.extend_from_slice(&footer);
        self.out.extend_from_slice(&(footer.len() as u32).to_le_bytes());
        self.out.extend_from_slice(MAGIC);
        Ok(self.out)
    }

    /// Names of fields do not matter below the columns, and metadata nowhere.
    fn check(&self, batch: &RecordBatch) -> Result<(), WriteError> {
        let schema = batch.schema_ref();
        let columns = |schema: &Schema| schema.fields().len();
        if columns(schema) != columns(&self.schema) {
            let told = format!("{} columns; expected {}", columns(schema), columns(&self.schema));
            return Err(WriteError::OtherSchema(told));
        }
        for (found, expected) in schema.fields().iter().zip(self.schema.fields()) {
            if found.name() != expected.name() || !found.data_type().equals_datatype(expected.data_type()) {
                let told = format!(
                    "{} {}; expected {} {}",
                    found.name(),
                    found.data_type(),
                    expected.name(),
                    expected.data_type()
                );
                return Err(WriteError::OtherSchema(told));
            }
        }
        for (expected, array) in self.schema.fields().iter().zip(batch.columns()) {
            if !expected.is_nullable() && array.logical_null_count() > 0 {
                return Err(WriteError::Null(expected.name().clone(), array.logical_null_count()));
            }
        }
        Ok(())
    }

    fn end_page(&mut self) -> io::Result<()> {
        if self.page_rows > 0 {
            for column in &mut self.columns {
                column.end_page(self.page_rows, &mut self.writer)?;
            }
            self.page_rows = 0;
        }
        Ok(())
    }

    fn end_group(&mut self) -> io::Result<()> {
        if self.group_rows == 0 {
            return Ok(());
        }
        self.end_page()?;
        let mut chunks = Vec::with_capacity(self.columns.len());
        for column in &mut self.columns {
            chunks.push(column.end_group(&mut self.writer, self.offset, &mut self.out)?);
        }
        self.groups.push(Group { rows: self.group_rows as u64, chunks });
        self.group_rows = 0;
        Ok(())
    }
}

/// So many rows, or fewer where their lists are long.
fn slice(batch: &RecordBatch, at: usize, count: usize) -> RecordBatch {
    let mut slice = batch.slice(at, count);
    while slice.num_rows() > 1 && slice.columns().iter().any(|array| rows::elements(array) > SLICE_ELEMENTS_MAX) {
        slice = slice.slice(0, slice.num_rows() / 2);
    }
    slice
}
