//! One column of a row group in the making: the page that is being filled, and the pages that are done.

use super::dictionary::{Numbers, Texts};
use super::footer::{Chunk, Statistics};
use super::hybrid;
use super::pages::{Encoding, Page, PageWriter};
use super::schema::{Leaf, Physical};

/// A dictionary of more numbers ends; the pages after it have plain ones. Codes then need 18 bits.
const NUMBERS_MAX: usize = 262_144;
/// A dictionary of numbers is judged once it has had so many: of fewer, all may differ by chance.
const JUDGED_NUMBERS_MIN: usize = 4_096;
/// Values are looked at so many at a time, and taken as one where they are equal.
const CHUNK: usize = 32;
/// A code that no text has: a group has fewer rows.
const UNKNOWN: u32 = u32::MAX;

/// See the module.
pub(super) struct Column {
    pub(super) leaf: Leaf,
    has_statistics: bool,
    definitions: Levels,
    repetitions: Levels,
    /// Of the page: the codes of the values that are there, or the truth of booleans.
    codes: Vec<u32>,
    /// Of the page, once the dictionary has ended: the numbers as they are.
    plain: Vec<u64>,
    values: Values,
    /// Headers and compressed bodies, one behind the other.
    pages: Vec<u8>,
    chunk: Chunk,
    /// The least and the greatest integer of the group.
    bounds: Option<(i64, i64)>,
}

enum Values {
    Booleans,
    Numbers {
        dictionary: Numbers,
        ended: bool,
        /// Numbers in the pages that are done, of the group.
        paged: usize,
        /// Entries of the dictionary that those pages need.
        needed: usize,
    },
    Texts {
        dictionary: Texts,
        code_of: Vec<u32>,
    },
}

/// Levels of a page as runs: mostly there is one.
#[derive(Default)]
struct Levels(Vec<(u32, usize)>);

impl Column {
    pub(super) fn new(leaf: Leaf, has_statistics: bool) -> Self {
        let values = match leaf.physical {
            Physical::Boolean => Values::Booleans,
            Physical::Int64 | Physical::Double => {
                Values::Numbers { dictionary: Numbers::default(), ended: false, paged: 0, needed: 0 }
            }
            Physical::Text => Values::Texts { dictionary: Texts::default(), code_of: Vec::new() },
        };
        Self {
            leaf,
            has_statistics,
            definitions: Levels::default(),
            repetitions: Levels::default(),
            codes: Vec::new(),
            plain: Vec::new(),
            values,
            pages: Vec::new(),
            chunk: Chunk::default(),
            bounds: None,
        }
    }

    /// Adds the levels of slots that are alike.
    #[inline]
    pub(super) fn levels(&mut self, definition: u32, repetition: u32, count: usize) {
        if self.leaf.definition > 0 {
            self.definitions.push(definition, count);
        }
        if self.leaf.repetition > 0 {
            self.repetitions.push(repetition, count);
        }
        if definition < self.leaf.definition {
            self.chunk.nulls += count as u64;
        }
    }

    /// Adds integers, whose levels were added.
    pub(super) fn integers(&mut self, integers: &[i64]) {
        if self.has_statistics {
            for &integer in integers {
                let (least, greatest) = self.bounds.unwrap_or((integer, integer));
                self.bounds = Some((least.min(integer), greatest.max(integer)));
            }
        }
        self.numbers(integers, i64::cast_unsigned);
    }

    /// Adds doubles, whose levels were added.
    pub(super) fn doubles(&mut self, doubles: &[f64]) {
        self.numbers(doubles, f64::to_bits);
    }

    fn numbers<T: Copy + PartialEq>(&mut self, numbers: &[T], bits: impl Fn(T) -> u64) {
        let Values::Numbers { dictionary, ended, .. } = &mut self.values else { return };
        if *ended {
            self.plain.extend(numbers.iter().map(|&number| bits(number)));
            return;
        }
        for chunk in numbers.chunks(CHUNK) {
            // Equal doubles may have different bits, and no NaN is equal to itself: both go one by one.
            if hybrid::is_constant(chunk) && chunk.iter().all(|&number| bits(number) == bits(chunk[0])) {
                let code = dictionary.code(bits(chunk[0]));
                self.codes.resize(self.codes.len() + chunk.len(), code);
            } else {
                self.codes.extend(chunk.iter().map(|&number| dictionary.code(bits(number))));
            }
        }
    }

    /// Adds booleans, whose levels were added.
    pub(super) fn booleans(&mut self, booleans: impl Iterator<Item = bool>) {
        self.codes.extend(booleans.map(u32::from));
    }

    /// Adds texts, whose levels were added.
    pub(super) fn texts<'a>(&mut self, texts: impl Iterator<Item = &'a str>) {
        let Values::Texts { dictionary, .. } = &mut self.values else { return };
        self.codes.extend(texts.map(|text| dictionary.code(text.as_bytes())));
    }

    /// Adds texts by their places among `length` of them, which are the same ones until `forget_places`.
    pub(super) fn places<'a>(&mut self, places: &[i32], length: usize, text_at: impl Fn(usize) -> &'a str) {
        let Values::Texts { dictionary, code_of } = &mut self.values else { return };
        code_of.resize(length, UNKNOWN);
        let mut code = |place: i32| {
            let known = &mut code_of[place as usize];
            if *known == UNKNOWN {
                *known = dictionary.code(text_at(place as usize).as_bytes());
            }
            *known
        };
        for chunk in places.chunks(CHUNK) {
            if hybrid::is_constant(chunk) {
                self.codes.resize(self.codes.len() + chunk.len(), code(chunk[0]));
            } else {
                self.codes.extend(chunk.iter().map(|&place| code(place)));
            }
        }
    }

    /// From now on places are those of other texts.
    pub(super) fn forget_places(&mut self) {
        if let Values::Texts { code_of, .. } = &mut self.values {
            code_of.clear();
        }
    }

    /// Bytes that the page takes before it is encoded.
    pub(super) fn page_bytes(&self) -> usize {
        size_of_val(&self.codes[..])
            + size_of_val(&self.plain[..])
            + size_of_val(&self.definitions.0[..])
            + size_of_val(&self.repetitions.0[..])
    }

    /// True when the page should end because the dictionary of numbers has become too large.
    pub(super) fn dictionary_is_full(&self) -> bool {
        self.values.is_full()
    }

    /// Bytes that the row group takes so far.
    pub(super) fn group_bytes(&self) -> usize {
        self.page_bytes() + self.pages.len() + self.values.bytes()
    }

    /// Ends the page, which has so many rows.
    pub(super) fn end_page(&mut self, rows: usize, writer: &mut PageWriter) -> std::io::Result<()> {
        let mut body = writer.body();
        let mut values = rows;
        if self.leaf.repetition > 0 {
            values = self.repetitions.take(self.leaf.repetition, &mut body);
        }
        if self.leaf.definition > 0 {
            values = self.definitions.take(self.leaf.definition, &mut body);
        }
        self.values.judge(&self.codes, &mut self.plain);
        let encoding = self.values.encode(&self.codes, &self.plain, &mut body);
        let bytes = writer.write(Page::Data { values, encoding }, body, &mut self.pages)?;
        self.chunk.add(values, encoding, bytes);
        self.codes.clear();
        self.plain.clear();
        self.values.end_full();
        Ok(())
    }

    /// Ends the row group: appends the column's pages to `out`, whose first byte is at `offset` of the file.
    pub(super) fn end_group(
        &mut self,
        writer: &mut PageWriter,
        offset: u64,
        out: &mut Vec<u8>,
    ) -> std::io::Result<Chunk> {
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk.offset = offset + out.len() as u64;
        let (mut body, mut count) = (writer.body(), 0);
        // Readers expect a dictionary wherever a page has codes, even where all values are null.
        if chunk.has_codes() {
            count = self.values.dictionary(&mut body);
            let bytes = writer.write(Page::Dictionary { values: count }, body, out)?;
            chunk.add_dictionary(bytes);
        }
        if self.has_statistics {
            let bounds = match &self.values {
                Values::Texts { dictionary, .. } if count > 0 => {
                    dictionary.bounds().map(|(least, greatest)| (least.to_vec(), greatest.to_vec()))
                }
                _ => self.bounds.map(|(least, greatest)| (least.to_le_bytes().into(), greatest.to_le_bytes().into())),
            };
            chunk.statistics = Some(Statistics { bounds });
        }
        out.append(&mut self.pages);
        self.bounds = None;
        self.values.clear();
        Ok(chunk)
    }
}

impl Values {
    fn bytes(&self) -> usize {
        match self {
            Self::Booleans => 0,
            Self::Numbers { dictionary, .. } => dictionary.bytes(),
            Self::Texts { dictionary, .. } => dictionary.bytes(),
        }
    }

    /// Ends a dictionary that takes more than the numbers themselves, for this page too. The first page with which there
    /// are enough numbers decides.
    fn judge(&mut self, codes: &[u32], plain: &mut Vec<u64>) {
        let Self::Numbers { dictionary, ended, paged, needed } = self else { return };
        let judged = *paged >= JUDGED_NUMBERS_MIN;
        *paged += codes.len();
        let numbers = dictionary.values();
        if !judged && *paged >= JUDGED_NUMBERS_MIN && numbers.len() * 10 > *paged * 8 {
            plain.extend(codes.iter().map(|&code| numbers[code as usize]));
            dictionary.close(*needed);
            *ended = true;
        }
        *needed = dictionary.values().len();
    }

    fn is_full(&self) -> bool {
        matches!(self, Self::Numbers { dictionary, ended: false, .. } if dictionary.values().len() > NUMBERS_MAX)
    }

    /// Ends a dictionary of numbers that has become too large, for the pages to come.
    fn end_full(&mut self) {
        let full = self.is_full();
        if let Self::Numbers { dictionary, ended, needed, .. } = self
            && full
        {
            dictionary.close(*needed);
            *ended = true;
        }
    }

    /// Appends a page's values; how they are encoded.
    fn encode(&self, codes: &[u32], plain: &[u64], body: &mut Vec<u8>) -> Encoding {
        let count = match self {
            Self::Booleans => {
                hybrid::pack(codes, 1, body);
                return Encoding::Plain;
            }
            Self::Numbers { ended: true, .. } => {
                body.extend(plain.iter().flat_map(|number| number.to_le_bytes()));
                return Encoding::Plain;
            }
            Self::Numbers { dictionary, .. } => dictionary.values().len(),
            Self::Texts { dictionary, .. } => dictionary.len(),
        };
        let width = hybrid::width(count.saturating_sub(1) as u32);
        body.push(width as u8);
        hybrid::encode(codes, width, body);
        Encoding::Dictionary
    }

    /// Appends the body of the dictionary's page; how many values it has.
    fn dictionary(&self, body: &mut Vec<u8>) -> usize {
        match self {
            Self::Booleans => 0,
            Self::Numbers { dictionary, .. } => {
                body.extend(dictionary.values().iter().flat_map(|number| number.to_le_bytes()));
                dictionary.values().len()
            }
            Self::Texts { dictionary, .. } => {
                body.extend_from_slice(dictionary.page());
                dictionary.len()
            }
        }
    }

    fn clear(&mut self) {
        match self {
            Self::Booleans => {}
            Self::Numbers { dictionary, ended, paged, needed } => {
                dictionary.clear();
                (*ended, *paged, *needed) = (false, 0, 0);
            }
            Self::Texts { dictionary, code_of } => {
                dictionary.clear();
                code_of.clear();
            }
        }
    }
}

impl Levels {
    #[inline]
    fn push(&mut self, level: u32, count: usize) {
        match self.0.last_mut() {
            Some((last, run)) if *last == level => *run += count,
            _ if count > 0 => self.0.push((level, count)),
            _ => {}
        }
    }

    /// Appends the levels, of at most `max`, behind their length; how many there are.
    fn take(&mut self, max: u32, body: &mut Vec<u8>) -> usize {
        let begin = body.len();
        body.extend_from_slice(&[0; size_of::<u32>()]);
        let count = self.0.iter().map(|&(_, run)| run).sum();
        let width = hybrid::width(max);
        if let &[(level, run)] = &self.0[..] {
            hybrid::run(level, run, width, body);
        } else {
            let levels: Vec<u32> = self.0.iter().flat_map(|&(level, run)| std::iter::repeat_n(level, run)).collect();
            hybrid::encode(&levels, width, body);
        }
        let length = (body.len() - begin - size_of::<u32>()) as u32;
        body[begin..begin + size_of::<u32>()].copy_from_slice(&length.to_le_bytes());
        self.0.clear();
        count
    }
}
