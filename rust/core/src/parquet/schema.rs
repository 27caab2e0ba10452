//! An Arrow schema as Parquet's tree of elements, and the columns at its leaves.

use arrow_schema::{DataType, Field, Schema, TimeUnit};

use super::Unsupported;
use super::thrift::Struct;

/// How a column's values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Physical {
    Boolean,
    Int64,
    Double,
    Text,
}

/// A column of the file.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) path: Vec<String>,
    pub(super) physical: Physical,
    /// Definition level of a value that is there: how many of its ancestors may be missing or empty, itself included.
    pub(super) definition: u32,
    /// Lists and maps above it.
    pub(super) repetition: u32,
}

/// One line of the schema in the footer.
#[derive(Clone, Debug)]
pub(super) struct Element {
    name: String,
    repetition: Repetition,
    children: usize,
    physical: Option<Physical>,
    logical: Option<Logical>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repetition {
    Required = 0,
    Optional = 1,
    Repeated = 2,
}

#[derive(Clone, Copy, Debug)]
enum Logical {
    Text,
    Map,
    List,
    Microseconds,
    Nanoseconds,
}

/// Elements in the footer's order, and the leaves among them.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) elements: Vec<Element>,
    pub(super) leaves: Vec<Leaf>,
}

impl Tree {
    pub(super) fn of(schema: &Schema) -> Result<Self, Unsupported> {
        let mut tree = Self::default();
        tree.group("schema", Repetition::Required, None, schema.fields().len());
        for field in schema.fields() {
            tree.field(field, &[], 0, 0)?;
        }
        Ok(tree)
    }

    fn field(&mut self, field: &Field, above: &[String], definition: u32, repetition: u32) -> Result<(), Unsupported> {
        let here = if field.is_nullable() { Repetition::Optional } else { Repetition::Required };
        let definition = definition + u32::from(field.is_nullable());
        let path: Vec<String> = above.iter().chain([field.name()]).cloned().collect();
        let mut leaf = |physical, logical| {
            self.elements.push(Element {
                name: field.name().clone(),
                repetition: here,
                children: 0,
                physical: Some(physical),
                logical,
            });
            self.leaves.push(Leaf { path: path.clone(), physical, definition, repetition });
        };
        match field.data_type() {
            DataType::Boolean => leaf(Physical::Boolean, None),
            DataType::Int64 => leaf(Physical::Int64, None),
            DataType::Float64 => leaf(Physical::Double, None),
            DataType::Utf8 => leaf(Physical::Text, Some(Logical::Text)),
            DataType::Dictionary(codes, texts) if **codes == DataType::Int32 && **texts == DataType::Utf8 => {
                leaf(Physical::Text, Some(Logical::Text));
            }
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => leaf(Physical::Int64, Some(Logical::Microseconds)),
            DataType::Timestamp(TimeUnit::Nanosecond, Some(_)) => leaf(Physical::Int64, Some(Logical::Nanoseconds)),
            DataType::Struct(fields) => {
                self.group(field.name(), here, None, fields.len());
                for child in fields {
                    self.field(child, &path, definition, repetition)?;
                }
            }
            DataType::List(item) => {
                self.group(field.name(), here, Some(Logical::List), 1);
                self.group("list", Repetition::Repeated, None, 1);
                let path = [&path[..], &["list".to_owned()]].concat();
                self.field(item, &path, definition + 1, repetition + 1)?;
            }
            DataType::Map(entries, _) => {
                let DataType::Struct(fields) = entries.data_type() else { return Err(Unsupported::of(field)) };
                self.group(field.name(), here, Some(Logical::Map), 1);
                self.group("key_value", Repetition::Repeated, None, fields.len());
                let path = [&path[..], &["key_value".to_owned()]].concat();
                for child in fields {
                    self.field(child, &path, definition + 1, repetition + 1)?;
                }
            }
            _ => return Err(Unsupported::of(field)),
        }
        Ok(())
    }

    fn group(&mut self, name: &str, repetition: Repetition, logical: Option<Logical>, children: usize) {
        self.elements.push(Element { name: name.to_owned(), repetition, children, physical: None, logical });
    }
}

impl Physical {
    /// The format's number for it.
    pub(super) fn number(self) -> i32 {
        match self {
            Self::Boolean => 0,
            Self::Int64 => 2,
            Self::Double => 5,
            Self::Text => 6,
        }
    }
}

impl Element {
    pub(super) fn write(&self, out: &mut Struct<'_>, is_root: bool) {
        if let Some(physical) = self.physical {
            out.i32(1, physical.number());
        }
        if !is_root {
            out.i32(3, self.repetition as i32);
        }
        out.binary(4, self.name.as_bytes());
        if self.physical.is_none() {
            out.i32(5, self.children as i32);
        }
        if let Some(logical) = self.logical {
            // Older readers know only the converted type; it has no nanoseconds.
            match logical {
                Logical::Text => out.i32(6, 0),
                Logical::Map => out.i32(6, 1),
                Logical::List => out.i32(6, 3),
                Logical::Microseconds => out.i32(6, 10),
                Logical::Nanoseconds => {}
            }
            out.nested(10, |union| match logical {
                Logical::Text => union.nested(1, |_| {}),
                Logical::Map => union.nested(2, |_| {}),
                Logical::List => union.nested(3, |_| {}),
                Logical::Microseconds => union.nested(8, |time| instant(time, 2)),
                Logical::Nanoseconds => union.nested(8, |time| instant(time, 3)),
            });
        }
    }
}

/// An instant in UTC; the unit by its number.
fn instant(out: &mut Struct<'_>, unit: u8) {
    out.boolean(1, true);
    out.nested(2, |union| union.nested(unit, |_| {}));
}
