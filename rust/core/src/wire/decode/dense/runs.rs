//! Numbers that go on in equal steps: ids that count upwards, times that are equally far apart.
//!
//! After a first number, each run is a change of the step (`sint64`) and how many numbers take the new step besides one.

use crate::wire::decode::fault::Fault;
use crate::wire::proto::Reader;

/// Numbers that the runs stand for. At most `numbers_max`: no run is gone through.
pub(super) fn count(mut runs: Reader<'_>, numbers_max: usize) -> Result<usize, Fault> {
    let mut numbers = 0_usize;
    while !runs.at_end() {
        runs.sint64()?;
        let further = usize::try_from(runs.varint()?).unwrap_or(usize::MAX);
        numbers = numbers.saturating_add(further).saturating_add(1);
        if numbers > numbers_max {
            return Err(Fault::DenseRuns { points: numbers_max });
        }
    }
    Ok(numbers)
}

/// Hands over one number after the other, those after the first. Whatever leaves 64 bits is `beyond` what it should be.
#[inline]
pub(super) fn each(
    mut runs: Reader<'_>,
    first: i64,
    beyond: Fault,
    mut put: impl FnMut(i64) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let (mut number, mut step) = (first, 0_i64);
    while !runs.at_end() {
        step = step.checked_add(runs.sint64()?).ok_or(beyond)?;
        for _ in 0..=runs.varint()? {
            number = number.checked_add(step).ok_or(beyond)?;
            put(number)?;
        }
    }
    Ok(())
}
