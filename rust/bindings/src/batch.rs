//! `Batch`: points with everything that is needed to send them on any stream.

use pyo3::buffer::{Element, PyBuffer};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use telemetry_core::wire::{OutgoingBatch, OutgoingHistogram, OutgoingSeries, OutgoingTag};

use crate::errors::EncodeError;

/// (name, tags, type, unit, delta)
type Series = (String, Vec<(String, String)>, u32, String, bool);

/// (name, tags, unit, delta, timestamp, sum, min, max, upper bounds, counts of the buckets)
type Histogram = (String, Vec<(String, String)>, String, bool, i64, f64, Option<f64>, Option<f64>, Vec<f64>, Vec<u64>);

/// Points, self-contained; frozen.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct Batch(pub(crate) OutgoingBatch);

#[pymethods]
impl Batch {
    #[new]
    #[pyo3(signature = (*, common_tags, series, series_index, timestamps_unix_ns, values, histograms = Vec::new()))]
    #[allow(clippy::too_many_arguments)] // keyword arguments, in Python's own form
    fn new(
        py: Python<'_>,
        common_tags: Vec<(String, String)>,
        series: Vec<Series>,
        series_index: &Bound<'_, PyAny>,
        timestamps_unix_ns: &Bound<'_, PyAny>,
        values: &Bound<'_, PyAny>,
        histograms: Vec<Histogram>,
    ) -> PyResult<Self> {
        let series_index = column::<u32>(py, series_index, "series_index", "uint32")?;
        let timestamps_unix_ns = column::<i64>(py, timestamps_unix_ns, "timestamps_unix_ns", "int64")?;
        let values = column::<f64>(py, values, "values", "float64")?;
        let series = series.into_iter().map(|(name, own, metric_type, unit, delta)| OutgoingSeries {
            name: name.into(),
            tags: tags(own),
            metric_type,
            unit: unit.into(),
            delta,
        });
        let rows = histograms.into_iter().map(|histogram| outgoing(histogram).row()).collect::<Result<_, _>>();
        OutgoingBatch::new(tags(common_tags), series.collect(), series_index, timestamps_unix_ns, values)
            .and_then(|columns| Ok(Self(columns.with_rows(rows?))))
            .map_err(|error| EncodeError::new_err(error.to_string()))
    }

    #[getter]
    fn points(&self) -> usize {
        self.0.len()
    }

    #[getter]
    fn row_bytes(&self) -> usize {
        self.0.row_bytes()
    }

    fn split(&self) -> PyResult<(Self, Self)> {
        let halves = self.0.split().map_err(|error| EncodeError::new_err(error.to_string()))?;
        Ok((Self(halves.0), Self(halves.1)))
    }
}

fn outgoing(histogram: Histogram) -> OutgoingHistogram {
    let (name, own, unit, delta, timestamp_unix_ns, sum, min, max, upper_bounds, bucket_counts) = histogram;
    let series = OutgoingSeries { name: name.into(), tags: tags(own), metric_type: 0, unit: unit.into(), delta };
    OutgoingHistogram { series, timestamp_unix_ns, sum, min, max, upper_bounds, bucket_counts }
}

fn tags(tags: Vec<(String, String)>) -> Vec<OutgoingTag> {
    tags.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
}

/// Copies a buffer of one dimension out of Python.
fn column<T: Element>(py: Python<'_>, buffer: &Bound<'_, PyAny>, argument: &str, element: &str) -> PyResult<Vec<T>> {
    if buffer.len().is_ok_and(|len| len == 0) {
        return Ok(Vec::new()); // where Python keeps no elements, no alignment can be asked for
    }
    let expected = || PyTypeError::new_err(format!("{argument} must be a C-contiguous buffer of {element}"));
    let buffer = PyBuffer::<T>::get(buffer).map_err(|_| expected())?;
    if buffer.dimensions() != 1 || !buffer.is_c_contiguous() {
        return Err(expected());
    }
    buffer.to_vec(py)
}
