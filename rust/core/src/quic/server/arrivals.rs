//! Who may begin a handshake, decided before any state is made or any key computed.
//!
//! ```text
//! an Initial ─► all places taken? ─► an address to be proven first? ─► too many of its address? ─► a connection
//! ```
//!
//! A handshake costs about a millisecond, an Initial whose source is forged costs its sender nothing. So when it gets
//! crowded newcomers are told to come again with a token (Retry), which costs microseconds and no memory; who comes back
//! has proven that it is where it says. Only then may the bounds of an address be held against it: nobody can use up
//! another's.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Instant;

/// Addresses are to be proven when one in so many places is taken, of all or of an address'.
const CROWDED_SHARE: usize = 4;

/// So much of what an address may begin is kept for those who have proven that they are there.
const KEPT_SHARE: f64 = 0.5;

/// New connections a second, over all addresses, that need no proof: some percent of a processor.
const UNPROVEN_PER_SEC: f64 = 100.0;

/// So many seconds' worth of new connections may come at once.
const BURST_SECS: f64 = 2.0;

/// Addresses whose rate is remembered. Of more, the one not heard of for longest is forgotten, and starts afresh.
const ADDRESSES_MAX: usize = 10_000;

/// What counts as one address: all of IPv4, the network's half of IPv6, whose other half a host chooses itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Address {
    V4(u32),
    V6(u64),
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        // Perhaps behind ::ffff:, where one socket takes both.
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// Bounds on handshakes under way and on new connections a second, in all and for each address.
pub(super) struct Arrivals {
    handshakes_max: usize,
    per_address_max: usize,
    per_address_per_sec: f64,
    under_way: HashMap<Address, usize>,
    rates: Rates,
    unproven: Allowance,
}

impl Arrivals {
    pub(super) fn new(handshakes_max: usize, per_address_max: usize, per_address_per_sec: usize, now: Instant) -> Self {
        Self {
            handshakes_max,
            per_address_max,
            per_address_per_sec: per_address_per_sec as f64,
            under_way: HashMap::new(),
            rates: Rates::default(),
            unproven: Allowance::new(UNPROVEN_PER_SEC, now),
        }
    }

    /// Whether newcomers from an address are sent away for a token, given how many handshakes are under way.
    pub(super) fn must_prove(&mut self, address: Address, under_way: usize, now: Instant) -> bool {
        under_way * CROWDED_SHARE >= self.handshakes_max
            || self.of(address) * CROWDED_SHARE >= self.per_address_max
            || !self.unproven.any_left(now, 0.0)
            || self.is_kept(address, now)
    }

    /// Whether what an address may still begin is for the proven: forged Initials leave no handshake behind, and would
    /// use up all of it in another's name.
    fn is_kept(&mut self, address: Address, now: Instant) -> bool {
        self.rates.known(address).is_some_and(|rate| !rate.any_left(now, KEPT_SHARE))
    }

    /// Why nothing more may begin from an address at the moment; none when it may, which is then counted.
    pub(super) fn refusal(&mut self, address: Address, proven: bool, now: Instant) -> Option<&'static str> {
        if self.of(address) >= self.per_address_max {
            return Some("too_many_handshakes_of_address");
        }
        let rate = self.rates.of(address, self.per_address_per_sec, now);
        if !rate.any_left(now, 0.0) {
            return Some("too_many_connections_of_address");
        }
        rate.spend();
        if !proven {
            self.unproven.spend();
        }
        None
    }

    /// A handshake is under way from now until `ended`.
    pub(super) fn begun(&mut self, address: Address) {
        *self.under_way.entry(address).or_default() += 1;
    }

    /// A handshake that had begun is over.
    pub(super) fn ended(&mut self, address: Address) {
        if let Some(count) = self.under_way.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.under_way.remove(&address);
            }
        }
    }

    fn of(&self, address: Address) -> usize {
        self.under_way.get(&address).copied().unwrap_or_default()
    }
}

/// The allowances of addresses, the one not heard of for longest first to go.
#[derive(Default)]
struct Rates {
    by_address: HashMap<Address, (u64, Allowance)>,
    by_turn: BTreeMap<u64, Address>,
    turn: u64,
}

impl Rates {
    fn known(&mut self, address: Address) -> Option<&mut Allowance> {
        self.by_address.get_mut(&address).map(|(_, rate)| rate)
    }

    /// The allowance of an address, which was just heard of.
    fn of(&mut self, address: Address, per_sec: f64, now: Instant) -> &mut Allowance {
        self.turn += 1;
        if let Some((turn, _)) = self.by_address.get(&address) {
            self.by_turn.remove(turn);
        } else if self.by_address.len() >= ADDRESSES_MAX
            && let Some((_, forgotten)) = self.by_turn.pop_first()
        {
            self.by_address.remove(&forgotten);
        }
        self.by_turn.insert(self.turn, address);
        let entry = self.by_address.entry(address).or_insert_with(|| (0, Allowance::new(per_sec, now)));
        entry.0 = self.turn;
        &mut entry.1
    }
}

/// A token bucket, full at first.
struct Allowance {
    per_sec: f64,
    tokens: f64,
    tokens_max: f64,
    at: Instant,
}

impl Allowance {
    fn new(per_sec: f64, now: Instant) -> Self {
        let tokens_max = (per_sec * BURST_SECS).max(1.0);
        Self { per_sec, tokens: tokens_max, tokens_max, at: now }
    }

    /// Whether there is one more than the share of the whole bucket that is to stay.
    fn any_left(&mut self, now: Instant, beside: f64) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.per_sec).min(self.tokens_max);
        self.at = now;
        self.tokens - beside * self.tokens_max >= 1.0
    }

    fn spend(&mut self) {
        self.tokens -= 1.0;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn arrivals(now: Instant) -> Arrivals {
        Arrivals::new(40, 8, 10, now)
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_ipv4_is_itself_however_written() {
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(address("::ffff:10.0.0.1"), address("10.0.0.1"));
        assert_ne!(address("10.0.0.1"), address("10.0.0.2"));
    }

    #[test]
    fn an_address_begins_two_seconds_worth_at_once_and_then_its_rate() {
        let start = Instant::now();
        let (mut arrivals, one) = (arrivals(start), address("10.0.0.1"));
        let begun =
            |arrivals: &mut Arrivals, now| (0..100).filter(|_| arrivals.refusal(one, true, now).is_none()).count();
        assert_eq!(begun(&mut arrivals, start), 20);
        assert_eq!(arrivals.refusal(one, true, start), Some("too_many_connections_of_address"));
        assert_eq!(arrivals.refusal(address("10.0.0.2"), true, start), None);
        assert_eq!(begun(&mut arrivals, start + Duration::from_secs(1)), 10);
    }

    #[test]
    fn handshakes_of_an_address_are_bounded_until_they_end() {
        let start = Instant::now();
        let (mut arrivals, one) = (arrivals(start), address("10.0.0.1"));
        (0..8).for_each(|_| arrivals.begun(one));
        assert_eq!(arrivals.refusal(one, true, start), Some("too_many_handshakes_of_address"));
        arrivals.ended(one);
        assert_eq!(arrivals.refusal(one, true, start), None);
    }

    #[test]
    fn addresses_are_to_be_proven_when_a_quarter_of_the_places_is_taken() {
        let start = Instant::now();
        let (mut arrivals, one, other) = (arrivals(start), address("10.0.0.1"), address("10.0.0.2"));
        assert!(!arrivals.must_prove(one, 9, start));
        assert!(arrivals.must_prove(one, 10, start));
        arrivals.begun(one);
        assert!(!arrivals.must_prove(one, 1, start));
        arrivals.begun(one);
        assert!(arrivals.must_prove(one, 2, start));
        assert!(!arrivals.must_prove(other, 2, start));
    }

    #[test]
    fn half_of_what_an_address_may_begin_is_for_those_who_proved_it() {
        let start = Instant::now();
        let (mut arrivals, one) = (arrivals(start), address("10.0.0.1"));
        let mut unproven = 0;
        while !arrivals.must_prove(one, 0, start) {
            assert_eq!(arrivals.refusal(one, false, start), None);
            unproven += 1;
        }
        assert_eq!(unproven, 10);
        assert_eq!(arrivals.refusal(one, true, start), None);
    }

    #[test]
    fn the_rates_of_many_addresses_take_bounded_memory() {
        let start = Instant::now();
        let mut arrivals = Arrivals::new(40, 8, 1, start);
        let number = |number: u32| Address::V4(number);
        for each in 0..ADDRESSES_MAX as u32 {
            assert_eq!(arrivals.refusal(number(each), true, start), None);
        }
        assert_eq!(arrivals.refusal(number(0), true, start), None);
        assert_eq!(arrivals.refusal(number(0), true, start), Some("too_many_connections_of_address"));
        // One more: the one not heard of for longest is forgotten, and that is no longer the first.
        assert_eq!(arrivals.refusal(number(u32::MAX), true, start), None);
        assert_eq!((arrivals.rates.by_address.len(), arrivals.rates.by_turn.len()), (ADDRESSES_MAX, ADDRESSES_MAX));
        assert!(arrivals.rates.known(number(1)).is_none());
        assert_eq!(arrivals.refusal(number(0), true, start), Some("too_many_connections_of_address"));
    }
}
