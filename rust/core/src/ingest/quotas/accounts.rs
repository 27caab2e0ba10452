//! What each identity has spent of its quota.
//!
//! Two sets of buckets an identity. The first is the quota: while one of them is empty, batches are put off. The second
//! is patience: batches that are put off cost work too, and an identity that sends [`PATIENCE`] times its quota in vain is
//! out until it has been quieter for a while. An identity whose buckets are all full is forgotten, since a new account
//! is no different.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::bucket::Bucket;
use super::{Quota, Quotas};
use crate::ingest::counters::RetryCause;
use crate::series::Offenders;

/// So many seconds' worth of its quota an identity may send at once.
const BURST_SECS: f64 = 4.0;
/// Batches that are put off may come at so many times the quota.
const PATIENCE: f64 = 4.0;
/// Batches put off a second, their points and their bytes, that nobody is out for. Full windows of a few connections are
/// within four seconds' worth of it, so that whoever waits as it is told stays in, however small its quota.
const PATIENCE_MIN: (f64, f64, f64) = (256.0, 10_000.0, 16.0 * 1024.0 * 1024.0);
/// Identities with an account of their own; those beyond share one.
const ACCOUNTS_MAX: usize = 65_536;
/// The least and the most that an agent is told to wait. Shorter, and a window full of batches comes back for each that
/// there is room for; longer, and it would not notice that its quota was raised.
const WAIT_SECS: (f64, f64) = (0.25, 60.0);

/// A time so far before the last one is of a clock that was set back. Less is of a frame that was judged while another
/// arrived, or of maintenance, whose time is in whole seconds; were it believed, the time between would count twice.
const SET_BACK_NS: i64 = 5_000_000_000;

/// Why a batch is put off, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// Which quota is used up.
    pub cause: RetryCause,
    /// When there will be room.
    pub retry_after_ms: u32,
}

/// How an identity stood when its frame arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Within its quota.
    Within,
    /// Over it: the batch is put off, if it comes to that.
    Over(Excess),
    /// It goes on and on over its quota: nothing of it is read any more.
    Out,
}

/// All identities' accounts, under the quotas of the moment.
#[derive(Debug, Default)]
pub struct Accounts {
    /// Whether there is anything to count.
    bounded: AtomicBool,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    quotas: Quotas,
    accounts: HashMap<Arc<str>, Account>,
    /// Of all identities that found the table full.
    shared: Option<Account>,
    offenders: Offenders,
}

#[derive(Debug)]
struct Account {
    quota: Quota,
    /// Until when tokens were added.
    filled_unix_ns: i64,
    batches: Bucket,
    points: Bucket,
    bytes: Bucket,
    patience_batches: Bucket,
    patience_points: Bucket,
    patience_bytes: Bucket,
}

impl Accounts {
    /// Replaces the quotas. Everybody begins anew, with full buckets.
    pub fn set(&self, quotas: Quotas) {
        let mut books = self.books.lock();
        self.bounded.store(!quotas.unbounded(), Ordering::Release);
        books.quotas = quotas;
        books.accounts.clear();
        books.shared = None;
    }

    /// A frame of an identity has arrived, or a request that counts as several batches, and is not looked at yet.
    pub fn arrive(&self, identity: &Arc<str>, batches: usize, bytes: usize, now_unix_ns: i64) -> Standing {
        self.with(identity, now_unix_ns, |account, _| {
            if account.is_out() {
                return Standing::Out;
            }
            let standing = account.excess().map_or(Standing::Within, Standing::Over);
            // Putting off a request is one answer, however many batches it would have been.
            account.spend(standing, if standing == Standing::Within { batches } else { 1 }, bytes);
            standing
        })
        .unwrap_or(Standing::Within)
    }

    /// Its body was compressed, and inflating it gave so many bytes beyond those of the frame.
    pub fn inflated(&self, identity: &Arc<str>, standing: Standing, bytes: usize, now_unix_ns: i64) {
        self.with(identity, now_unix_ns, |account, _| account.spend(standing, 0, bytes));
    }

    /// Takes the points of a batch that is about to be stored, or says why it is put off.
    ///
    /// # Errors
    /// [`Excess`], which the offender is noted for.
    pub fn admit(
        &self,
        identity: &Arc<str>,
        standing: Standing,
        points: usize,
        now_unix_ns: i64,
    ) -> Result<(), Excess> {
        self.with(identity, now_unix_ns, |account, offenders| {
            let excess = match standing {
                Standing::Over(excess) => excess,
                _ if account.points.is_empty() => {
                    account.patience_batches.spend(1.0);
                    later(RetryCause::QuotaPoints, account.points.wait_secs())
                }
                _ => {
                    account.points.spend(points as f64);
                    return Ok(());
                }
            };
            account.patience_points.spend(points as f64);
            offenders.record(identity, excess.cause.as_str(), 1);
            Err(excess)
        })
        .unwrap_or(Ok(()))
    }

    /// Returns the points of a batch that was let in and then neither stored nor refused: it comes again.
    pub fn give_back(&self, identity: &Arc<str>, points: usize, now_unix_ns: i64) {
        self.with(identity, now_unix_ns, |account, _| account.points.give_back(points as f64));
    }

    /// How many series an identity may have brought.
    pub fn series_max(&self, identity: &str) -> usize {
        if !self.bounded.load(Ordering::Acquire) {
            return usize::MAX;
        }
        let books = self.books.lock();
        books.accounts.get(identity).map_or_else(|| books.quotas.of(identity), |account| account.quota).series_max()
    }

    /// Points of new series were refused because an identity has brought as many as it may.
    pub fn series_refused(&self, identity: &str, points: u64) {
        self.books.lock().offenders.record(identity, "quota_series", points);
    }

    /// Forgets the accounts that are full again.
    pub fn forget_idle(&self, now_unix_ns: i64) {
        let mut books = self.books.lock();
        books.accounts.retain(|_, account| {
            account.refill(now_unix_ns);
            !account.is_full()
        });
    }

    /// Identities that have an account.
    #[must_use]
    pub fn len(&self) -> usize {
        self.books.lock().accounts.len()
    }

    /// Whether nobody has an account.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Who exceeded which quota most: batches put off, or points of new series refused.
    #[must_use]
    pub fn offenders(&self) -> Offenders {
        self.books.lock().offenders.clone()
    }

    /// Calls with the identity's account, filled up to now; `None` where nothing is bounded.
    fn with<T>(
        &self,
        identity: &Arc<str>,
        now_unix_ns: i64,
        act: impl FnOnce(&mut Account, &mut Offenders) -> T,
    ) -> Option<T> {
        if !self.bounded.load(Ordering::Acquire) {
            return None;
        }
        let mut books = self.books.lock();
        let Books { quotas, accounts, shared, offenders } = &mut *books;
        let account = if accounts.len() < ACCOUNTS_MAX || accounts.contains_key(identity) {
            let open = || Account::new(quotas.of(identity), now_unix_ns);
            accounts.entry(Arc::clone(identity)).or_insert_with(open)
        } else {
            shared.get_or_insert_with(|| Account::new(quotas.default, now_unix_ns))
        };
        account.refill(now_unix_ns);
        Some(act(account, offenders))
    }
}

impl Account {
    fn new(quota: Quota, now_unix_ns: i64) -> Self {
        let bounded = quota.bounds_rates();
        let allowed = |per_sec: Option<u64>| Bucket::new(per_sec.map(|per_sec| per_sec as f64), BURST_SECS);
        let patience = |per_sec: Option<u64>, at_least: f64| {
            // Whoever has no bound here may be over another, and is not free to be so without end.
            let per_sec = per_sec.map_or(at_least, |per_sec| (PATIENCE * per_sec as f64).max(at_least));
            Bucket::new(bounded.then_some(per_sec), BURST_SECS)
        };
        let (batches_min, points_min, bytes_min) = PATIENCE_MIN;
        Self {
            quota,
            filled_unix_ns: now_unix_ns,
            batches: allowed(quota.batches_per_sec),
            points: allowed(quota.points_per_sec),
            bytes: allowed(quota.bytes_per_sec),
            patience_batches: patience(quota.batches_per_sec, batches_min),
            patience_points: patience(quota.points_per_sec, points_min),
            patience_bytes: patience(quota.bytes_per_sec, bytes_min),
        }
    }

    fn refill(&mut self, now_unix_ns: i64) {
        let passed_ns = now_unix_ns.saturating_sub(self.filled_unix_ns);
        if passed_ns < -SET_BACK_NS {
            self.filled_unix_ns = now_unix_ns;
        } else if passed_ns > 0 {
            self.filled_unix_ns = now_unix_ns;
            self.buckets().for_each(|bucket| bucket.refill(passed_ns as f64 / 1e9));
        }
    }

    fn buckets(&mut self) -> impl Iterator<Item = &mut Bucket> {
        let Self { batches, points, bytes, patience_batches, patience_points, patience_bytes, .. } = self;
        [batches, points, bytes, patience_batches, patience_points, patience_bytes].into_iter()
    }

    fn is_out(&self) -> bool {
        [&self.patience_batches, &self.patience_points, &self.patience_bytes].into_iter().any(Bucket::is_empty)
    }

    fn is_full(&mut self) -> bool {
        self.buckets().all(|bucket| bucket.is_full())
    }

    /// What is used up, the longest wait first. Points are judged when they are known.
    fn excess(&self) -> Option<Excess> {
        [(RetryCause::QuotaBatches, &self.batches), (RetryCause::QuotaBytes, &self.bytes)]
            .into_iter()
            .filter(|(_, bucket)| bucket.is_empty())
            .max_by(|(_, one), (_, other)| one.wait_secs().total_cmp(&other.wait_secs()))
            .map(|(cause, bucket)| later(cause, bucket.wait_secs()))
    }

    fn spend(&mut self, standing: Standing, batches: usize, bytes: usize) {
        let (of_batches, of_bytes) = match standing {
            Standing::Within => (&mut self.batches, &mut self.bytes),
            _ => (&mut self.patience_batches, &mut self.patience_bytes),
        };
        of_batches.spend(batches as f64);
        of_bytes.spend(bytes as f64);
    }
}

fn later(cause: RetryCause, wait_secs: f64) -> Excess {
    let (least, most) = WAIT_SECS;
    // The millisecond more makes up for what rounding takes away.
    Excess { cause, retry_after_ms: (wait_secs.clamp(least, most) * 1000.0) as u32 + 1 }
}

#[cfg(test)]
#[path = "accounts_tests.rs"]
mod tests;
