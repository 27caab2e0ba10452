//! The histogram and summary columns: null except where a point is one.

use std::sync::Arc;

use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, Float64Array, Int64Array, ListArray, PrimitiveArray, StructArray,
    new_empty_array,
};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Field, Fields};

use super::{nulls_except, schema};
use crate::columns::block::{Histogram, Summary};

/// Histograms, each field by itself, with the places of their points.
#[derive(Debug, Default)]
pub(super) struct HistogramColumn {
    places: Vec<u32>,
    counts: Vec<i64>,
    sums: Vec<f64>,
    mins: Vec<Option<f64>>,
    maxs: Vec<Option<f64>>,
    bounds: Vec<f64>,
    bound_ends: Vec<i32>,
    buckets: Vec<i64>,
    bucket_ends: Vec<i32>,
}

/// Summaries, each field by itself, with the places of their points.
#[derive(Debug, Default)]
pub(super) struct SummaryColumn {
    places: Vec<u32>,
    counts: Vec<i64>,
    sums: Vec<f64>,
    quantiles: Vec<f64>,
    values: Vec<f64>,
    ends: Vec<i32>,
}

impl HistogramColumn {
    pub(super) fn push(&mut self, place: usize, histogram: &Histogram) {
        self.places.push(place as u32);
        self.counts.push(histogram.count.cast_signed());
        self.sums.push(histogram.sum);
        self.mins.push(histogram.min);
        self.maxs.push(histogram.max);
        self.bounds.extend_from_slice(&histogram.upper_bounds);
        self.bound_ends.push(self.bounds.len() as i32);
        self.buckets.extend(histogram.bucket_counts.iter().map(|count| count.cast_signed()));
        self.bucket_ends.push(self.buckets.len() as i32);
    }

    /// Elements of the longest list column.
    pub(super) fn items(&self) -> usize {
        self.buckets.len()
    }

    /// Nulls for the plain values: where a histogram or summary stands. `None` when there are neither.
    pub(super) fn nulls_or(&self, summaries: &SummaryColumn, length: usize) -> Option<NullBuffer> {
        if self.places.is_empty() && summaries.places.is_empty() {
            return None;
        }
        let distributions = [&self.places[..], &summaries.places[..]].concat();
        Some(NullBuffer::new(!nulls_except(&distributions, length).inner()))
    }

    pub(super) fn column(&mut self, length: usize) -> Result<ArrayRef, ArrowError> {
        let taken = std::mem::take(self);
        let fields = schema::histogram_fields();
        if taken.places.is_empty() {
            return absent(fields, length);
        }
        let places = &taken.places;
        let some = |numbers: &[f64]| numbers.iter().copied().map(Some).collect::<Vec<_>>();
        let counts: Vec<_> = taken.counts.iter().copied().map(Some).collect();
        let columns = vec![
            sparse::<Int64Type>(places, &counts, length),
            sparse::<Float64Type>(places, &some(&taken.sums), length),
            sparse::<Float64Type>(places, &taken.mins, length),
            sparse::<Float64Type>(places, &taken.maxs, length),
            sparse_list::<Float64Type>(places, &taken.bound_ends, taken.bounds, length)?,
            sparse_list::<Int64Type>(places, &taken.bucket_ends, taken.buckets, length)?,
        ];
        Ok(Arc::new(StructArray::try_new(fields, columns, Some(nulls_except(places, length)))?))
    }
}

impl SummaryColumn {
    pub(super) fn push(&mut self, place: usize, summary: &Summary) {
        self.places.push(place as u32);
        self.counts.push(summary.count.cast_signed());
        self.sums.push(summary.sum);
        self.quantiles.extend(summary.quantiles.iter().map(|quantile| quantile.quantile));
        self.values.extend(summary.quantiles.iter().map(|quantile| quantile.value));
        self.ends.push(self.values.len() as i32);
    }

    /// Elements of the longest list column.
    pub(super) fn items(&self) -> usize {
        self.values.len()
    }

    pub(super) fn column(&mut self, length: usize) -> Result<ArrayRef, ArrowError> {
        let taken = std::mem::take(self);
        let fields = schema::summary_fields();
        if taken.places.is_empty() {
            return absent(fields, length);
        }
        let places = &taken.places;
        let counts: Vec<_> = taken.counts.iter().copied().map(Some).collect();
        let sums: Vec<_> = taken.sums.iter().copied().map(Some).collect();
        let columns = vec![
            sparse::<Int64Type>(places, &counts, length),
            sparse::<Float64Type>(places, &sums, length),
            sparse_list::<Float64Type>(places, &taken.ends, taken.quantiles, length)?,
            sparse_list::<Float64Type>(places, &taken.ends, taken.values, length)?,
        ];
        Ok(Arc::new(StructArray::try_new(fields, columns, Some(nulls_except(places, length)))?))
    }
}

/// A column of `length` in which nothing is, as in most batches. Its fields share one buffer of zeros and one of nulls:
/// with their own they would take as much memory as all other columns together.
fn absent(fields: Fields, length: usize) -> Result<ArrayRef, ArrowError> {
    // Enough for numbers of 64 bits, and offsets that are not looked at again for each list.
    let offsets = OffsetBuffer::<i32>::new_zeroed(2 * length + 1);
    let zeros = offsets.inner().inner().clone();
    let offsets = offsets.slice(0, length);
    let nulls = NullBuffer::new_null(length);
    let absent = |field: &Arc<Field>| -> Result<ArrayRef, ArrowError> {
        let (zeros, nulls) = (zeros.clone(), Some(nulls.clone()));
        Ok(match field.data_type() {
            DataType::List(item) => Arc::new(ListArray::try_new(
                Arc::clone(item),
                offsets.clone(),
                new_empty_array(item.data_type()),
                nulls,
            )?),
            DataType::Int64 => Arc::new(Int64Array::try_new(ScalarBuffer::new(zeros, 0, length), nulls)?),
            _ => Arc::new(Float64Array::try_new(ScalarBuffer::new(zeros, 0, length), nulls)?),
        })
    };
    let columns = fields.iter().map(absent).collect::<Result<_, _>>()?;
    Ok(Arc::new(StructArray::try_new(fields, columns, Some(nulls))?))
}

/// A column of `length` with values at ascending places and nulls elsewhere.
fn sparse<T: ArrowPrimitiveType>(places: &[u32], values: &[Option<T::Native>], length: usize) -> ArrayRef {
    let mut all = vec![T::Native::default(); length];
    let mut valid = Vec::with_capacity(places.len());
    for (&place, value) in places.iter().zip(values) {
        if let Some(value) = value {
            all[place as usize] = *value;
            valid.push(place);
        }
    }
    Arc::new(PrimitiveArray::<T>::new(all.into(), Some(nulls_except(&valid, length))))
}

/// A column of `length` with lists at ascending places and nulls elsewhere; `ends[i]` is where the i-th list ends.
fn sparse_list<T: ArrowPrimitiveType>(
    places: &[u32],
    ends: &[i32],
    values: Vec<T::Native>,
    length: usize,
) -> Result<ArrayRef, ArrowError> {
    let mut offsets = Vec::with_capacity(length + 1);
    let mut end = 0;
    for (&place, &next) in places.iter().zip(ends) {
        offsets.resize(place as usize + 1, end);
        end = next;
    }
    offsets.resize(length + 1, end);
    let values = PrimitiveArray::<T>::new(values.into(), None);
    let item = schema::item(values.data_type().clone());
    debug_assert!(matches!(item.data_type(), DataType::Int64 | DataType::Float64));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    Ok(Arc::new(ListArray::try_new(item, offsets, Arc::new(values), Some(nulls_except(places, length)))?))
}
