//! Arrow columns taken apart into leaves: for each the values that are there, and the levels that tell where they belong.
//!
//! What is all there or all missing, as nearly every column is, goes by without a look at single rows.

use std::borrow::Cow;
use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampNanosecondType};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, TimeUnit};

use super::column::Column;

/// Where the elements of an array belong.
enum Slots {
    /// Each is a row, and there from its root to this level.
    Rows { definition: u32, rows: usize },
    /// There are none: so many rows are missing or empty above this level.
    Absent { definition: u32, rows: usize },
    /// One by one.
    Each(Vec<Slot>),
}

#[derive(Clone, Copy)]
struct Slot {
    definition: u32,
    repetition: u32,
    /// `None` where an ancestor is missing or empty.
    place: Option<u32>,
}

/// Which elements of a leaf's array are its values.
enum Present {
    /// Those of a range: all of them, mostly.
    Range(Range<usize>),
    These(Vec<u32>),
}

/// Elements of the longest leaf of an array, with those that lists of missing rows still have room for.
pub(super) fn elements(array: &ArrayRef) -> usize {
    let below = |values: &[ArrayRef], offsets: &[i32]| {
        let (first, end) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
        values.iter().map(|values| elements(&values.slice(first, end - first))).max().unwrap_or(0)
    };
    match array.data_type() {
        DataType::Struct(_) => array.as_struct().columns().iter().map(elements).max().unwrap_or(0),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            below(std::slice::from_ref(list.values()), list.value_offsets())
        }
        DataType::Map(..) => below(array.as_map().entries().columns(), array.as_map().value_offsets()),
        _ => array.len(),
    }
}

/// Adds the rows of a top-level field to its leaves, and leaves the iterator behind them.
pub(super) fn add(array: &ArrayRef, nullable: bool, columns: &mut std::slice::IterMut<'_, Column>) {
    walk(array, nullable, &Slots::Rows { definition: 0, rows: array.len() }, 0, columns);
}

fn walk(
    array: &ArrayRef,
    nullable: bool,
    slots: &Slots,
    repetition: u32,
    columns: &mut std::slice::IterMut<'_, Column>,
) {
    match array.data_type() {
        DataType::Struct(fields) => {
            let slots = slots.below(array.nulls(), nullable);
            for (field, child) in fields.iter().zip(array.as_struct().columns()) {
                walk(child, field.is_nullable(), &slots, repetition, columns);
            }
        }
        DataType::List(item) => {
            let list = array.as_list::<i32>();
            let slots = slots.below(array.nulls(), nullable);
            let items = slots.items(list.value_offsets(), repetition + 1);
            walk(list.values(), item.is_nullable(), &items, repetition + 1, columns);
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let slots = slots.below(array.nulls(), nullable);
            let items = slots.items(map.value_offsets(), repetition + 1);
            for (field, child) in map.entries().fields().iter().zip(map.entries().columns()) {
                walk(child, field.is_nullable(), &items, repetition + 1, columns);
            }
        }
        _ => {
            if let Some(column) = columns.next() {
                // A text of a dictionary may be the null, too.
                let present = slots.tell(array.logical_nulls().as_ref(), nullable, column);
                take_values(array, &present, column);
            }
        }
    }
}

impl Slots {
    /// The slots of the elements of an array, which may be null.
    fn below(&self, nulls: Option<&NullBuffer>, nullable: bool) -> Self {
        let deeper = u32::from(nullable);
        let nulls = some_null(nulls, nullable);
        let below = |slot: Slot| slot.below(nulls, deeper);
        match (self, nulls) {
            (&Self::Absent { definition, rows }, _) => Self::Absent { definition, rows },
            (&Self::Rows { definition, rows }, None) => Self::Rows { definition: definition + deeper, rows },
            (&Self::Rows { definition, rows }, Some(nulls)) if nulls.null_count() == rows => {
                Self::Absent { definition, rows }
            }
            (&Self::Rows { definition, rows }, Some(_)) => Self::Each(each(definition, rows).map(below).collect()),
            (Self::Each(slots), _) => Self::Each(slots.iter().copied().map(below).collect()),
        }
    }

    /// The slots of the items of lists, which lie between these offsets.
    fn items(&self, offsets: &[i32], repetition: u32) -> Self {
        let mut items = Vec::new();
        let open = |slot: Slot| {
            let (start, end) = slot.place.map_or((0, 0), |at| (offsets[at as usize], offsets[at as usize + 1]));
            if start == end {
                items.push(Slot { place: None, ..slot });
            }
            items.extend((start..end).map(|item| Slot {
                definition: slot.definition + 1,
                // The first item begins its list, and whatever that list is the first item of.
                repetition: if item == start { slot.repetition } else { repetition },
                place: Some(item as u32),
            }));
        };
        match self {
            &Self::Absent { definition, rows } => return Self::Absent { definition, rows },
            &Self::Rows { definition, rows } if offsets.first() == offsets.last() => {
                return Self::Absent { definition, rows };
            }
            &Self::Rows { definition, rows } => each(definition, rows).for_each(open),
            Self::Each(slots) => slots.iter().copied().for_each(open),
        }
        Self::Each(items)
    }

    /// Adds the levels of a leaf's elements to its column; which of them are there.
    fn tell(&self, nulls: Option<&NullBuffer>, nullable: bool, column: &mut Column) -> Present {
        let deeper = u32::from(nullable);
        let nulls = some_null(nulls, nullable);
        let mut places = Vec::new();
        let mut tell = |slot: Slot| {
            let slot = slot.below(nulls, deeper);
            column.levels(slot.definition, slot.repetition, 1);
            places.extend(slot.place);
        };
        match self {
            &Self::Absent { definition, rows } => column.levels(definition, 0, rows),
            &Self::Rows { definition, rows } => match nulls {
                None => {
                    column.levels(definition + deeper, 0, rows);
                    return Present::Range(0..rows);
                }
                Some(nulls) if nulls.null_count() == rows => column.levels(definition, 0, rows),
                Some(_) => each(definition, rows).for_each(tell),
            },
            Self::Each(slots) => {
                for &slot in slots {
                    tell(slot);
                }
            }
        }
        // They ascend.
        match (places.first(), places.last()) {
            (Some(&first), Some(&last)) if (last - first) as usize + 1 == places.len() => {
                Present::Range(first as usize..last as usize + 1)
            }
            _ => Present::These(places),
        }
    }
}

impl Slot {
    #[inline]
    fn below(self, nulls: Option<&NullBuffer>, deeper: u32) -> Self {
        match self.place {
            Some(place) if nulls.is_some_and(|nulls| nulls.is_null(place as usize)) => Self { place: None, ..self },
            Some(_) => Self { definition: self.definition + deeper, ..self },
            None => self,
        }
    }
}

/// The nulls of an array that may have some and has.
fn some_null(nulls: Option<&NullBuffer>, nullable: bool) -> Option<&NullBuffer> {
    nulls.filter(|nulls| nullable && nulls.null_count() > 0)
}

fn each(definition: u32, rows: usize) -> impl Iterator<Item = Slot> {
    (0..rows as u32).map(move |row| Slot { definition, repetition: 0, place: Some(row) })
}

fn take_values(array: &ArrayRef, present: &Present, column: &mut Column) {
    match array.data_type() {
        DataType::Int64 => column.integers(&present.of(array.as_primitive::<Int64Type>().values())),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            column.integers(&present.of(array.as_primitive::<TimestampMicrosecondType>().values()));
        }
        DataType::Timestamp(..) => {
            column.integers(&present.of(array.as_primitive::<TimestampNanosecondType>().values()));
        }
        DataType::Float64 => column.doubles(&present.of(array.as_primitive::<Float64Type>().values())),
        DataType::Boolean => {
            let booleans = array.as_boolean();
            column.booleans(present.places().map(|place| booleans.value(place)));
        }
        DataType::Utf8 => {
            let texts = array.as_string::<i32>();
            column.texts(present.places().map(|place| texts.value(place)));
        }
        _ => {
            let dictionary = array.as_dictionary::<Int32Type>();
            let texts = dictionary.values().as_string::<i32>();
            column.places(&present.of(dictionary.keys().values()), texts.len(), |place| texts.value(place));
        }
    }
}

impl Present {
    fn of<'a, T: Copy>(&self, values: &'a [T]) -> Cow<'a, [T]> {
        match self {
            Self::Range(range) => Cow::Borrowed(&values[range.clone()]),
            Self::These(places) => Cow::Owned(places.iter().map(|&place| values[place as usize]).collect()),
        }
    }

    fn places(&self) -> impl Iterator<Item = usize> {
        let (range, places) = match self {
            Self::Range(range) => (range.clone(), &[][..]),
            Self::These(places) => (0..0, &places[..]),
        };
        range.chain(places.iter().map(|&place| place as usize))
    }
}
