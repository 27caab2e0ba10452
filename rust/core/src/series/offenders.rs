//! Who is refused most for the cardinality limit, in bounded memory.
//!
//! The space-saving summary (Metwally, Agrawal, El Abbadi 2005): when the table is full, a newcomer takes the place of
//! the smallest entry and inherits its count. Counts may be too high by at most that much, and whoever has more than
//! 1/128 of all refusals is certain to be in the table.

/// Entries kept.
pub const OFFENDERS_MAX: usize = 128;

/// One entry: an identity and one of its metrics' names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offender {
    /// Who sent the points, from the peer's certificate.
    pub identity: Box<str>,
    /// The metric's name.
    pub name: Box<str>,
    /// Points refused; at least as many as truly were.
    pub points: u64,
}

/// The table.
#[derive(Clone, Debug, Default)]
pub struct Offenders {
    entries: Vec<Offender>,
    last: usize,
}

impl Offenders {
    /// Counts refused points of an identity's metric.
    pub fn record(&mut self, identity: &str, name: &str, points: u64) {
        let fits = |entry: &Offender| &*entry.name == name && &*entry.identity == identity;
        // A batch over the limit repeats few names, mostly the last one.
        let found = match self.entries.get(self.last) {
            Some(entry) if fits(entry) => Some(self.last),
            _ => self.entries.iter().position(fits),
        };
        if let Some(place) = found {
            self.last = place;
            self.entries[place].points += points;
        } else if self.entries.len() < OFFENDERS_MAX {
            self.last = self.entries.len();
            self.entries.push(Offender { identity: identity.into(), name: name.into(), points });
        } else if let Some((place, smallest)) =
            self.entries.iter_mut().enumerate().min_by_key(|(_, entry)| entry.points)
        {
            self.last = place;
            *smallest = Offender { identity: identity.into(), name: name.into(), points: smallest.points + points };
        }
    }

    /// The entries, worst first.
    #[must_use]
    pub fn worst_first(&self) -> Vec<Offender> {
        let mut entries = self.entries.clone();
        entries
            .sort_by(|a, b| b.points.cmp(&a.points).then_with(|| (&a.identity, &a.name).cmp(&(&b.identity, &b.name))));
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn the_table_is_bounded_and_holds_every_heavy_offender(names in prop::collection::vec(0_u32..400, 1..3000)) {
            let mut offenders = Offenders::default();
            let mut truth: HashMap<String, u64> = HashMap::new();
            for name in &names {
                // Squaring makes a few names heavy and most of them rare.
                let name = format!("metric.{}", name * name / 400);
                offenders.record("node-1", &name, 1);
                *truth.entry(name).or_default() += 1;
            }
            let found = offenders.worst_first();
            prop_assert!(found.len() <= OFFENDERS_MAX);
            prop_assert!(found.windows(2).all(|pair| pair[0].points >= pair[1].points));
            for (name, points) in truth {
                let entry = found.iter().find(|entry| *entry.name == name);
                if points > names.len() as u64 / OFFENDERS_MAX as u64 {
                    prop_assert!(entry.is_some());
                }
                if let Some(entry) = entry {
                    prop_assert!(entry.points >= points);
                }
            }
        }
    }

    #[test]
    fn identities_with_the_same_metric_are_counted_apart() {
        let mut offenders = Offenders::default();
        offenders.record("b", "requests", 2);
        offenders.record("a", "requests", 2);
        offenders.record("b", "requests", 1);
        let seen: Vec<_> = offenders.worst_first().into_iter().map(|o| (o.identity.into_string(), o.points)).collect();
        assert_eq!(seen, [("b".to_owned(), 3), ("a".to_owned(), 2)]);
    }
}
