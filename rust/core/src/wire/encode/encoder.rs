//! Encodes batches for one stream and remembers which series the stream has defined.

use std::collections::HashMap;

use super::EncodeError;
use super::compress::{Compression, Compressor};
use super::dense::{DenseWriter, Points, SentReferences};
use super::outgoing::{OutgoingBatch, OutgoingHeartbeat, OutgoingTag, put_tags};
use crate::limits::{Limits, STREAM_DEFINITION_BYTES_MAX, STREAM_DEFINITIONS_MAX};
use crate::wire::dense::DENSE_POINTS_MAX;
use crate::wire::frame::PREFIX_BYTES;
use crate::wire::proto::{put_bytes, put_fixed64, put_message_head, put_number, put_varint, varint_len, zigzag};

/// How points are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// Series are defined once a stream; points refer to them, and are told in the fewest bytes.
    Dense,
    /// Series are defined once a stream; points refer to them.
    #[default]
    Columnar,
    /// Every point with its name and tags.
    Row,
}

/// How a stream's frames are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderSettings {
    /// How points are written.
    pub form: Form,
    /// In the dense form, values are told by how far they are from one that the stream was told before. Its batches can then be read in
    /// their order only, each once.
    pub references: bool,
    /// How contents are sent; what compressing does not make smaller by a tenth is sent as it is.
    pub compression: Compression,
    /// The collector's limit on a frame, its prefix not counted.
    pub frame_bytes_max: usize,
    /// The collector's limit on contents before compression.
    pub inflated_bytes_max: usize,
}

impl Default for EncoderSettings {
    /// The limits of a collector that was not told otherwise.
    fn default() -> Self {
        let Limits { frame_bytes_max, inflated_bytes_max, .. } = Limits::default();
        Self {
            form: Form::default(),
            references: false,
            compression: Compression::default(),
            frame_bytes_max,
            inflated_bytes_max,
        }
    }
}

/// What names a batch, and what is settled before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchName {
    /// 1, 2, 3, …; 0 for a batch without a name.
    pub sequence: u64,
    /// One life of the agent's spool; 0 for a batch without a name.
    pub epoch: u64,
    /// Every lower sequence of this epoch is answered or abandoned.
    pub oldest_unacknowledged: u64,
}

/// The sending half of one stream.
pub struct FrameEncoder {
    settings: EncoderSettings,
    compressor: Compressor,
    /// What the stream has defined: a definition's fields without its id, and the id. Exact, so no two series are mixed up.
    defined: HashMap<Box<[u8]>, u32>,
    defined_bytes: usize,
    /// The common tags of the first batch in the dense form.
    common_tags: Option<Box<[OutgoingTag]>>,
    references: Option<SentReferences>,
    scratch: Scratch,
}

/// Reused from frame to frame.
#[derive(Default)]
struct Scratch {
    contents: Vec<u8>,
    message: Vec<u8>,
    /// Definitions of the frame that is being made, remembered when it is whole.
    fresh: HashMap<Box<[u8]>, u32>,
    fresh_bytes: usize,
    /// The common tags of the batch stand in its definitions.
    tags_are_defined: bool,
    /// For each series of the batch its id in the stream, once it is known.
    ids: Vec<Option<u32>>,
    /// For each point of the batch its series' id in the stream.
    point_ids: Vec<u32>,
    dense: DenseWriter,
}

impl std::fmt::Debug for FrameEncoder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("FrameEncoder");
        shown.field("settings", &self.settings).field("definitions", &self.defined.len()).finish_non_exhaustive()
    }
}

impl FrameEncoder {
    /// An encoder for a new stream.
    ///
    /// # Errors
    /// [`EncodeError::Compressor`] when there is no memory for one.
    pub fn new(settings: EncoderSettings) -> Result<Self, EncodeError> {
        let compressor = Compressor::new(settings.compression)?;
        let references = settings.references.then(SentReferences::default);
        Ok(Self {
            settings,
            compressor,
            defined: HashMap::new(),
            defined_bytes: 0,
            common_tags: None,
            references,
            scratch: Scratch::default(),
        })
    }

    /// Series defined on this stream so far.
    #[must_use]
    pub fn definitions(&self) -> usize {
        self.defined.len()
    }

    /// Appends one frame with its length prefix.
    ///
    /// # Errors
    /// [`EncodeError`]; nothing is appended or remembered then.
    pub fn frame(
        &mut self,
        batch: Option<&OutgoingBatch>,
        name: BatchName,
        heartbeat: Option<&OutgoingHeartbeat>,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        name.check()?;
        self.scratch.contents.clear();
        self.scratch.fresh.clear();
        self.scratch.fresh_bytes = 0;
        if let Some(references) = &mut self.references {
            references.begin();
        }
        if let Some(batch) = batch {
            self.scratch.tags_are_defined = self.defines_tags(batch);
            // Rows stand for themselves, so for them the tags are told beside the definitions.
            if !self.scratch.tags_are_defined || !batch.rows().is_empty() {
                put_tags(&mut self.scratch.contents, 3, batch.common_tags());
            }
            match self.settings.form {
                Form::Row => self.put_rows(batch),
                Form::Dense | Form::Columnar => self.put_columns(batch)?,
            }
            for row in batch.rows() {
                put_bytes(&mut self.scratch.contents, 4, row);
            }
        }
        if let Some(heartbeat) = heartbeat {
            heartbeat.check()?;
            heartbeat.put(&mut self.scratch.contents);
        }
        self.close_frame(name, out)?;
        self.defined.extend(self.scratch.fresh.drain());
        self.defined_bytes += self.scratch.fresh_bytes;
        if let Some(references) = &mut self.references {
            references.commit();
        }
        Ok(())
    }

    /// True when the batch's common tags go into the definitions of its series, so that they are told once a stream. Only
    /// those that the stream began with do: others may be new in each batch, and definitions are for good. Repeating them
    /// in each definition costs nothing but where nothing is compressed.
    fn defines_tags(&mut self, batch: &OutgoingBatch) -> bool {
        self.settings.form == Form::Dense
            && self.settings.compression != Compression::None
            && !batch.is_empty()
            && **self.common_tags.get_or_insert_with(|| batch.common_tags().into()) == *batch.common_tags()
    }

    fn put_rows(&mut self, batch: &OutgoingBatch) {
        let Scratch { contents, message, .. } = &mut self.scratch;
        let points = batch.series_index().iter().zip(batch.timestamps_unix_ns()).zip(batch.values());
        for ((&series, &timestamp), &value) in points {
            message.clear();
            batch.series()[series as usize].put_metric(message);
            if timestamp != 0 {
                put_fixed64(message, 5, timestamp as u64);
            }
            put_fixed64(message, 6, value.to_bits());
            put_bytes(contents, 4, message);
        }
    }

    fn put_columns(&mut self, batch: &OutgoingBatch) -> Result<(), EncodeError> {
        self.scratch.ids.clear();
        self.scratch.ids.resize(batch.series().len(), None);
        for &series in batch.series_index() {
            if self.scratch.ids[series as usize].is_none() {
                let id = self.define(batch, series as usize)?;
                self.scratch.ids[series as usize] = Some(id);
            }
        }
        let Scratch { contents, message, ids, point_ids, dense, .. } = &mut self.scratch;
        point_ids.clear();
        point_ids.extend(
            batch
                .series_index()
                .iter()
                .map(|&series| ids[series as usize].expect("every series of the batch was just defined")),
        );
        let is_dense = self.settings.form == Form::Dense && batch.len() <= DENSE_POINTS_MAX;
        let mut start = 0;
        // A column's timestamps are all times or all the time of receipt, so runs of either kind go in messages of their own.
        for run in batch.timestamps_unix_ns().chunk_by(|&left, &right| (left == 0) == (right == 0)) {
            let range = start..start + run.len();
            start = range.end;
            let points =
                Points { ids: &point_ids[range.clone()], timestamps_unix_ns: run, values: &batch.values()[range] };
            if !(is_dense && dense.put(points, self.references.as_mut(), contents)) {
                put_plain(points, message, contents);
            }
        }
        Ok(())
    }

    /// The id of a series of the batch in this stream; one that is new gets the next and is defined in this frame.
    fn define(&mut self, batch: &OutgoingBatch, place: usize) -> Result<u32, EncodeError> {
        let Scratch { contents, message, fresh, fresh_bytes, tags_are_defined, .. } = &mut self.scratch;
        let series = &batch.series()[place];
        message.clear();
        let common_tags = if *tags_are_defined { batch.common_tags() } else { &[] };
        series.put_definition(common_tags, message);
        if let Some(&id) = self.defined.get(&message[..]).or_else(|| fresh.get(&message[..])) {
            return Ok(id);
        }
        let definitions = self.defined.len() + fresh.len() + 1;
        let bytes = self.defined_bytes + *fresh_bytes + series.text_bytes(common_tags);
        if definitions > STREAM_DEFINITIONS_MAX || bytes > STREAM_DEFINITION_BYTES_MAX {
            return Err(EncodeError::DefinitionsUsedUp { definitions, bytes });
        }
        let id = definitions as u32 - 1;
        let id_bytes = if id == 0 { 0 } else { 1 + varint_len(u64::from(id)) };
        put_message_head(contents, 5, id_bytes + message.len());
        put_number(contents, 1, u64::from(id));
        contents.extend_from_slice(message);
        fresh.insert(message.as_slice().into(), id);
        *fresh_bytes += series.text_bytes(common_tags);
        Ok(id)
    }

    /// Appends the frame around the contents.
    fn close_frame(&mut self, name: BatchName, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let Scratch { contents, message, .. } = &mut self.scratch;
        let start = out.len();
        out.extend_from_slice(&[0; PREFIX_BYTES]);
        put_number(out, 1, name.sequence);
        if name.epoch != 0 {
            put_fixed64(out, 2, name.epoch);
        }
        let compressed = if contents.len() > self.settings.inflated_bytes_max {
            None // too large to be taken compressed; perhaps not as it is
        } else {
            self.compressor.compress(contents).inspect_err(|_| out.truncate(start))?
        };
        message.clear();
        if let Some((algorithm, body)) = compressed {
            put_number(message, 1, u64::from(algorithm));
            put_number(message, 2, contents.len() as u64);
            put_bytes(message, 3, body);
        }
        // Inflating costs the collector more than reading the rest of a batch, so it is to be worth it.
        if compressed.is_some() && message.len() <= contents.len() / 10 * 9 {
            put_bytes(out, 8, message);
        } else {
            out.extend_from_slice(contents);
        }
        put_number(out, 9, name.oldest_unacknowledged);
        let bytes = out.len() - start - PREFIX_BYTES;
        if bytes == 0 {
            out.truncate(start);
            return Err(EncodeError::Empty);
        }
        // The prefix announces 32 bits, whatever the settings say.
        let bytes_max = self.settings.frame_bytes_max.min(u32::MAX as usize);
        if bytes > bytes_max {
            out.truncate(start);
            return Err(EncodeError::FrameTooLarge { bytes, bytes_max });
        }
        out[start..start + PREFIX_BYTES].copy_from_slice(&(bytes as u32).to_be_bytes());
        Ok(())
    }
}

impl BatchName {
    pub(super) fn check(self) -> Result<(), EncodeError> {
        let Self { sequence, epoch, oldest_unacknowledged } = self;
        let refuse = |expected| Err(EncodeError::Name { sequence, epoch, oldest_unacknowledged, expected });
        if i64::try_from(sequence).is_err() {
            return refuse("a sequence is below 2^63");
        }
        if sequence == 0 && epoch != 0 {
            return refuse("sequence 0 belongs to epoch 0 only");
        }
        if oldest_unacknowledged > sequence {
            return refuse("the oldest unacknowledged is at most the sequence");
        }
        Ok(())
    }
}

/// Appends `PointColumns` with these points in plain columns.
fn put_plain(points: Points<'_>, message: &mut Vec<u8>, out: &mut Vec<u8>) {
    message.clear();
    put_packed(message, 1, points.ids.iter().map(|&id| u64::from(id)));
    put_timestamps(message, points.timestamps_unix_ns);
    put_message_head(message, 4, points.values.len() * 8);
    message.extend(points.values.iter().flat_map(|value| value.to_le_bytes()));
    put_bytes(out, 6, message);
}

/// Appends a packed field of varints.
pub(super) fn put_packed(out: &mut Vec<u8>, field: u32, numbers: impl Iterator<Item = u64> + Clone) {
    put_message_head(out, field, numbers.clone().map(varint_len).sum());
    numbers.for_each(|number| put_varint(out, number));
}

/// Appends base and deltas of points that are all of the same kind: times, or 0 for the time of receipt.
fn put_timestamps(out: &mut Vec<u8>, timestamps: &[i64]) {
    let base = timestamps[0];
    if base == 0 {
        return;
    }
    put_fixed64(out, 2, base as u64);
    if timestamps.iter().any(|&timestamp| timestamp != base) {
        let previous = std::iter::once(&base).chain(timestamps);
        put_packed(out, 3, timestamps.iter().zip(previous).map(|(now, before)| zigzag(now - before)));
    }
}
