//! Arrow columns taken apart into leaves: for each the values that are there, and the levels that tell where they belong.
//!
//! What is all there or all missing, as nearly every column is, goes by without a look at single rows.

use std::borrow::Cow;

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
    All,
    These(Vec<u32>),
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
    let slots = slots.below(array.nulls(), nullable);
    match array.data_type() {
        DataType::Struct(fields) => {
            for (field, child) in fields.iter().zip(array.as_struct().columns()) {
                walk(child, field.is_nullable(), &slots, repetition, columns);
            }
        }
        DataType::List(item) => {
            let list = array.as_list::<i32>();
            let items = slots.items(list.value_offsets(), repetition + 1);
            walk(list.values(), item.is_nullable(), &items, repetition + 1, columns);
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let items = slots.items(map.value_offsets(), repetition + 1);
            for (field, child) in map.entries().fields().iter().zip(map.entries().columns()) {
                walk(child, field.is_nullable(), &items, repetition + 1, columns);
            }
        }
        _ => {
            if let Some(column) = columns.next() {
                let present = slots.tell(column);
                take_values(array, &present, column);
            }
        }
    }
}

impl Slots {
    /// The slots of the elements of an array, which may be null.
    fn below(&self, nulls: Option<&NullBuffer>, nullable: bool) -> Self {
        let deeper = u32::from(nullable);
        let nulls = nulls.filter(|nulls| nullable && nulls.null_count() > 0);
        let below = |slot: Slot| match slot.place {
            Some(place) if nulls.is_some_and(|nulls| nulls.is_null(place as usize)) => Slot { place: None, ..slot },
            Some(_) => Slot { definition: slot.definition + deeper, ..slot },
            None => slot,
        };
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

    /// Adds the levels of a leaf's slots to its column.
    fn tell(&self, column: &mut Column) -> Present {
        match self {
            &Self::Rows { definition, rows } => {
                column.levels(definition, 0, rows);
                Present::All
            }
            &Self::Absent { definition, rows } => {
                column.levels(definition, 0, rows);
                Present::These(Vec::new())
            }
            Self::Each(slots) => {
                for slot in slots {
                    column.levels(slot.definition, slot.repetition, 1);
                }
                Present::These(slots.iter().filter_map(|slot| slot.place).collect())
            }
        }
    }
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
            match present {
                Present::All => column.booleans(booleans.values().iter()),
                Present::These(places) => column.booleans(places.iter().map(|&place| booleans.value(place as usize))),
            }
        }
        DataType::Utf8 => {
            let texts = array.as_string::<i32>();
            match present {
                Present::All => column.texts((0..texts.len()).map(|place| texts.value(place))),
                Present::These(places) => column.texts(places.iter().map(|&place| texts.value(place as usize))),
            }
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
            Self::All => Cow::Borrowed(values),
            Self::These(places) => Cow::Owned(places.iter().map(|&place| values[place as usize]).collect()),
        }
    }
}
