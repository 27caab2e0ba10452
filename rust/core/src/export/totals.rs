//! Running totals of series that are told as changes, for protocols that know totals only.
//!
//! They live with whoever reads the journal, in memory: after a restart, and after going back in the journal, every total
//! begins anew at 0, which is what a service does that restarts, and what readers of counters reckon with. The same blocks
//! may be written again, smaller or because they failed: they are told by where they begin, and what they had added is
//! taken back first.

use std::collections::HashMap;
use std::sync::Arc;

use crate::columns::Histogram;
use crate::series::Descriptor;

/// Series, and buckets of histograms, in each of two generations. Of more, those that had no point for longest begin anew
/// when they have one.
const WEIGHT_MAX: usize = 100_000;

/// The totals of one reader's series.
#[derive(Debug)]
pub struct Totals {
    /// When it is full it becomes the old one, whose series are forgotten if they have no point before it is full again.
    young: HashMap<Arc<Descriptor>, Total>,
    old: HashMap<Arc<Descriptor>, Total>,
    weight: usize,
    weight_max: usize,
    /// Where the blocks begin and end that were written last.
    last: (u64, u64),
    round: u64,
    /// What totals were before these, in the order in which they changed.
    before: Vec<(Arc<Descriptor>, Option<Total>)>,
}

/// The total of one series.
#[derive(Clone, Debug, Default)]
pub(super) struct Total {
    pub(super) sum: Sum,
    /// The time of the last sample, from which on the next ones are.
    pub(super) last_ms: Option<i64>,
    round: u64,
}

/// What a series adds up to.
#[derive(Clone, Debug, Default)]
pub(super) enum Sum {
    /// It has begun.
    #[default]
    Nothing,
    Value(f64),
    Histogram(Histogram),
}

impl Default for Totals {
    fn default() -> Self {
        Self::new(WEIGHT_MAX)
    }
}

impl Totals {
    pub(super) fn new(weight_max: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            weight: 0,
            weight_max,
            last: (0, 0),
            round: 0,
            before: Vec::new(),
        }
    }

    /// Blocks are written that begin and end at these places in the journal.
    pub fn begin(&mut self, start: u64, end: u64) {
        let (last_start, last_end) = self.last;
        if start == last_start {
            while let Some((descriptor, before)) = self.before.pop() {
                self.remove(&descriptor);
                if let Some(total) = before {
                    self.put(descriptor, total);
                }
            }
        } else if start < last_end {
            *self = Self::new(self.weight_max);
        }
        self.before.clear();
        self.round += 1;
        self.last = (start, end);
    }

    /// Changes the total of a series.
    pub(super) fn change<R>(&mut self, descriptor: &Arc<Descriptor>, change: impl FnOnce(&mut Total) -> R) -> R {
        let known = self.remove(descriptor);
        if known.as_ref().is_none_or(|total| total.round != self.round) {
            self.before.push((Arc::clone(descriptor), known.clone()));
        }
        let mut total = known.unwrap_or_default();
        total.round = self.round;
        let result = change(&mut total);
        self.put(Arc::clone(descriptor), total);
        result
    }

    fn remove(&mut self, descriptor: &Arc<Descriptor>) -> Option<Total> {
        match self.young.remove(descriptor) {
            Some(total) => {
                self.weight -= total.weight();
                Some(total)
            }
            None => self.old.remove(descriptor),
        }
    }

    fn put(&mut self, descriptor: Arc<Descriptor>, total: Total) {
        if self.weight + total.weight() > self.weight_max {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
        self.weight += total.weight();
        self.young.insert(descriptor, total);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

impl Total {
    fn weight(&self) -> usize {
        match &self.sum {
            Sum::Histogram(histogram) => 1 + histogram.bucket_counts.len(),
            Sum::Nothing | Sum::Value(_) => 1,
        }
    }
}

impl Sum {
    /// Adds a change; true when the total begins with it.
    pub(super) fn add_value(&mut self, change: f64) -> bool {
        if let Self::Value(total) = self {
            *total += change;
            return false;
        }
        *self = Self::Value(change);
        true
    }

    /// Adds the counts of a histogram; true when the total begins with it, which it does when the bounds are others.
    pub(super) fn add_histogram(&mut self, change: &Histogram) -> bool {
        if let Self::Histogram(total) = self
            && total.upper_bounds == change.upper_bounds
        {
            total.count = total.count.saturating_add(change.count);
            total.sum += change.sum;
            for (total, change) in total.bucket_counts.iter_mut().zip(&change.bucket_counts) {
                *total = total.saturating_add(*change);
            }
            return false;
        }
        // The extremes are of the change alone.
        *self = Self::Histogram(Histogram { min: None, max: None, ..change.clone() });
        true
    }
}
