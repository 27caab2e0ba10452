use super::*;
use crate::ingest::quotas::{Override, Pattern};
use proptest::prelude::*;

const SECOND_NS: i64 = 1_000_000_000;

fn who(name: &str) -> Arc<str> {
    name.into()
}

fn accounts(quota: Quota) -> Accounts {
    let accounts = Accounts::default();
    accounts.set(Quotas { default: quota, overrides: Vec::new() });
    accounts
}

/// A batch from its arrival on: whether it is stored, and how it stood.
fn batch(accounts: &Accounts, identity: &Arc<str>, points: usize, bytes: usize, now_ns: i64) -> Result<(), Standing> {
    match accounts.arrive(identity, 1, bytes, now_ns) {
        Standing::Out => Err(Standing::Out),
        standing => accounts.admit(identity, standing, points, now_ns).map_err(Standing::Over),
    }
}

fn quota_of(cause: RetryCause, per_sec: u64) -> Quota {
    let mut quota = Quota::default();
    match cause {
        RetryCause::QuotaBatches => quota.batches_per_sec = Some(per_sec),
        RetryCause::QuotaPoints => quota.points_per_sec = Some(per_sec),
        _ => quota.bytes_per_sec = Some(per_sec),
    }
    quota
}

proptest! {
    /// Whatever it sends and however long it waits: what is stored stays within the burst, the rate and one batch more.
    #[test]
    fn nobody_stores_more_than_its_quota(
        cause in prop::sample::select(vec![RetryCause::QuotaBatches, RetryCause::QuotaPoints, RetryCause::QuotaBytes]),
        per_sec in 1_u64..500,
        sent in prop::collection::vec((0_i64..3_000, 1_usize..2_000), 1..300),
    ) {
        let accounts = accounts(quota_of(cause, per_sec));
        let (node, mut now_ns, mut stored, mut largest) = (who("node-1"), 0, 0.0_f64, 0.0_f64);
        for (wait_ms, size) in sent {
            now_ns += wait_ms * 1_000_000;
            let cost = if cause == RetryCause::QuotaBatches { 1.0 } else { size as f64 };
            largest = largest.max(cost);
            match batch(&accounts, &node, size, size, now_ns) {
                Ok(()) => stored += cost,
                Err(Standing::Over(excess)) => prop_assert_eq!(excess.cause, cause),
                Err(_) => {}
            }
            let allowed = per_sec as f64 * (BURST_SECS + now_ns as f64 / 1e9);
            prop_assert!(stored <= allowed + largest + 1e-6, "{stored} of {allowed}");
        }
    }

    /// Who waits as long as it was told is let in, however large its batch was.
    #[test]
    fn there_is_room_when_the_answer_says_so(per_sec in 1_u64..500, size in 1_usize..10_000) {
        let accounts = accounts(quota_of(RetryCause::QuotaPoints, per_sec));
        let (node, mut now_ns) = (who("node-1"), 0);
        let excess = loop {
            match batch(&accounts, &node, size, 1, now_ns) {
                Ok(()) => {}
                Err(Standing::Over(excess)) => break excess,
                Err(standing) => prop_assert!(false, "{standing:?}"),
            }
        };
        // The longest that anybody is told to wait is a minute; then it is told again.
        let mut left = 10_000;
        let mut wait_ms = excess.retry_after_ms;
        loop {
            now_ns += i64::from(wait_ms) * 1_000_000;
            match batch(&accounts, &node, size, 1, now_ns) {
                Ok(()) => break,
                Err(Standing::Over(excess)) => {
                    prop_assert_eq!(wait_ms, 60_001, "it waited as long as it was told");
                    wait_ms = excess.retry_after_ms;
                }
                Err(standing) => prop_assert!(false, "{standing:?}"),
            }
            left -= 1;
            prop_assert!(left > 0);
        }
    }
}

#[test]
fn one_identitys_flood_costs_another_nothing() {
    let accounts = accounts(Quota { batches_per_sec: Some(10), ..Quota::default() });
    let (flood, quiet) = (who("flood"), who("quiet"));
    for _ in 0..10_000 {
        let _ = batch(&accounts, &flood, 1, 1, 0);
    }
    assert!(matches!(batch(&accounts, &flood, 1, 1, 0), Err(Standing::Out)));
    for _ in 0..40 {
        assert_eq!(batch(&accounts, &quiet, 1, 1, 0), Ok(()));
    }
}

#[test]
fn who_goes_on_in_vain_is_out_and_who_waits_is_not() {
    let accounts = accounts(Quota { batches_per_sec: Some(100), ..Quota::default() });
    let node = who("node-1");
    let mut in_vain = 0;
    while !matches!(batch(&accounts, &node, 1, 1, 0), Err(Standing::Out)) {
        in_vain += 1;
    }
    assert_eq!(in_vain, 400 + 1_600, "four seconds' worth, then four times as much in vain");
    assert_eq!(batch(&accounts, &node, 1, 1, SECOND_NS), Ok(()));
}

#[test]
fn bodies_that_inflate_are_paid_for_however_small_their_frames() {
    let accounts = accounts(Quota { bytes_per_sec: Some(10_000_000), ..Quota::default() });
    let node = who("node-1");
    let mut bombs = 0;
    loop {
        let standing = accounts.arrive(&node, 1, 100, 0);
        if standing == Standing::Out {
            break;
        }
        accounts.inflated(&node, standing, 10_000_000, 0);
        bombs += 1;
    }
    assert_eq!(bombs, 4 + 16);
}

#[test]
fn the_first_override_that_fits_wins_and_new_quotas_act_at_once() {
    let accounts = Accounts::default();
    let node = who("spiffe://fleet/relay/eu");
    assert_eq!(batch(&accounts, &node, 1, 1, 0), Ok(()), "nothing is bounded at first");
    assert!(accounts.is_empty());
    let series = |series| Quota { series: Some(series), ..Quota::default() };
    let one = |pattern: &str, quota| Override { identities: vec![Pattern::new(pattern)], quota };
    accounts
        .set(Quotas { default: series(1), overrides: vec![one("*/relay/*", series(2)), one("spiffe://*", series(3))] });
    let bounds = ["spiffe://fleet/relay/eu", "spiffe://fleet/node-1", "node-1"].map(|who| accounts.series_max(who));
    assert_eq!(bounds, [2, 3, 1]);
    accounts.set(Quotas { default: Quota { batches_per_sec: Some(1), ..Quota::default() }, overrides: Vec::new() });
    assert_eq!(accounts.series_max(&node), usize::MAX);
    for expected in [true, true, true, true, false] {
        assert_eq!(batch(&accounts, &node, 1, 1, 0).is_ok(), expected);
    }
}

#[test]
fn an_account_is_forgotten_when_it_is_full_again() {
    let accounts = accounts(Quota { points_per_sec: Some(100), ..Quota::default() });
    let (busy, idle) = (who("busy"), who("idle"));
    assert_eq!(batch(&accounts, &busy, 1_000, 1, 0), Ok(()));
    assert_eq!(batch(&accounts, &idle, 50, 1, 0), Ok(()));
    accounts.forget_idle(SECOND_NS);
    assert_eq!(accounts.len(), 1);
    assert!(batch(&accounts, &busy, 1, 1, SECOND_NS).is_err(), "and not before");
    accounts.forget_idle(20 * SECOND_NS);
    assert!(accounts.is_empty());
}

#[test]
fn identities_beyond_the_table_share_an_account() {
    let accounts = accounts(Quota { batches_per_sec: Some(1), ..Quota::default() });
    for number in 0..ACCOUNTS_MAX {
        assert_eq!(batch(&accounts, &who(&format!("node-{number}")), 1, 1, 0), Ok(()));
    }
    let stored = (0..10).filter(|number| batch(&accounts, &who(&format!("late-{number}")), 1, 1, 0).is_ok()).count();
    assert_eq!((stored, accounts.len()), (4, ACCOUNTS_MAX));
}

#[test]
fn a_clock_that_is_set_back_adds_nothing_and_locks_nobody_out() {
    let accounts = accounts(Quota { batches_per_sec: Some(1), ..Quota::default() });
    let node = who("node-1");
    for _ in 0..4 {
        assert_eq!(batch(&accounts, &node, 1, 1, 100_000 * SECOND_NS), Ok(()));
    }
    assert!(batch(&accounts, &node, 1, 1, 50 * SECOND_NS).is_err());
    assert_eq!(batch(&accounts, &node, 1, 1, 51 * SECOND_NS), Ok(()));
    assert!(batch(&accounts, &node, 1, 1, 51 * SECOND_NS).is_err());
}

#[test]
fn frames_that_are_judged_out_of_their_order_gain_nothing() {
    let accounts = accounts(Quota { batches_per_sec: Some(1), ..Quota::default() });
    let node = who("node-1");
    let times = [100, 99].into_iter().cycle().take(1_000);
    let stored = times.filter(|secs| batch(&accounts, &node, 1, 1, secs * SECOND_NS).is_ok()).count();
    assert_eq!(stored, 4);
}
