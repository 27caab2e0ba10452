//! The numbers that both sides must agree on: outcomes of batches, reasons of refusals, codes of closing.

/// Declares an enum with its wire numbers once, and the way back from a number.
macro_rules! wire_numbers {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $number:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $($(#[$variant_doc])* $variant = $number),+ }

        impl $name {
            /// Every value, in the order of the numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The value with this number on the wire, if this version knows it.
            #[must_use]
            pub fn from_wire(number: u64) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// The number on the wire.
            #[must_use]
            pub fn number(self) -> u32 {
                u32::from(self as u8)
            }
        }
    };
}

wire_numbers! {
    /// What became of a batch.
    Outcome {
        /// On stable storage; the agent may forget the batch.
        Stored = 1,
        /// Was stored before; the agent may forget the batch.
        Duplicate = 2,
        /// Accepted points are on stable storage, the rest are refused for good.
        Partial = 3,
        /// Nothing was stored, and sending it again cannot help.
        Rejected = 4,
        /// Nothing was stored; the agent sends it again later. Outcomes of later versions are read as this one.
        RetryLater = 5,
    }
}

wire_numbers! {
    /// Why a point or a batch was refused.
    Reason {
        /// None was given, or one that this version does not know.
        Unspecified = 0,
        /// A new series over a cardinality limit.
        CardinalityLimit = 1,
        /// More points than the collector takes in one batch.
        BatchTooLarge = 2,
        /// The metric's name.
        InvalidName = 3,
        /// A tag or the unit.
        InvalidTag = 4,
        /// The value, histogram or summary, or data that is not of the metric's type.
        InvalidValue = 5,
        /// Too far in the past or in the future.
        InvalidTimestamp = 6,
        /// A series id that the stream has not defined.
        UnknownSeries = 7,
        /// The batch speaks for a node that its certificate does not name.
        IdentityMismatch = 8,
        /// The collector keeps known metrics only, and this is not one.
        NotInCatalogue = 9,
        /// The frame is not a batch as the contract has it.
        Malformed = 10,
        /// The client has given the batch's name up.
        Withdrawn = 11,
    }
}

wire_numbers! {
    /// Application error codes of `CONNECTION_CLOSE`, `RESET_STREAM` and `STOP_SENDING`.
    CloseCode {
        /// Nothing is wrong.
        Normal = 0,
        /// A frame of length 0 or over the limit; the stream cannot be read on.
        FrameTooLarge = 1,
        /// More batches in flight than the largest window granted on the stream.
        CreditExceeded = 2,
        /// A valid certificate whose identity is not on the list.
        NotAllowed = 3,
        /// Revoked, expired or removed from the list while connected.
        Revoked = 4,
        /// The collector has as many connections as it takes.
        TooManyConnections = 5,
        /// More streams than were granted.
        TooManyStreams = 6,
        /// Idle, or a frame that took too long.
        TimedOut = 7,
        /// What is unacknowledged is to be sent again, here later or to another collector.
        ShuttingDown = 8,
        /// Kept exceeding its own quota after `RETRY_LATER`.
        QuotaExceeded = 9,
    }
}

impl Outcome {
    /// The outcome as operators see it: in logs and in metrics' labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Duplicate => "duplicate",
            Self::Partial => "partial",
            Self::Rejected => "rejected",
            Self::RetryLater => "retry_later",
        }
    }
}

impl CloseCode {
    /// The code as operators see it: in logs and in metrics' labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::FrameTooLarge => "frame_too_large",
            Self::CreditExceeded => "credit_exceeded",
            Self::NotAllowed => "not_allowed",
            Self::Revoked => "revoked",
            Self::TooManyConnections => "too_many_connections",
            Self::TooManyStreams => "too_many_streams",
            Self::TimedOut => "timed_out",
            Self::ShuttingDown => "shutting_down",
            Self::QuotaExceeded => "quota_exceeded",
        }
    }
}

impl Reason {
    /// The reason as operators see it: in logs, in metrics' labels and in examples.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::CardinalityLimit => "cardinality_limit",
            Self::BatchTooLarge => "batch_too_large",
            Self::InvalidName => "invalid_name",
            Self::InvalidTag => "invalid_tag",
            Self::InvalidValue => "invalid_value",
            Self::InvalidTimestamp => "invalid_timestamp",
            Self::UnknownSeries => "unknown_series",
            Self::IdentityMismatch => "identity_mismatch",
            Self::NotInCatalogue => "not_in_catalogue",
            Self::Malformed => "malformed",
            Self::Withdrawn => "withdrawn",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_leads_back_to_its_value() {
        assert!(Outcome::ALL.iter().all(|&it| Outcome::from_wire(u64::from(it.number())) == Some(it)));
        assert!(Reason::ALL.iter().all(|&it| Reason::from_wire(u64::from(it.number())) == Some(it)));
        assert!(CloseCode::ALL.iter().all(|&it| CloseCode::from_wire(u64::from(it.number())) == Some(it)));
        assert_eq!((Outcome::from_wire(0), Outcome::from_wire(6)), (None, None));
        assert_eq!((Reason::from_wire(12), CloseCode::from_wire(10)), (None, None));
    }

    /// The schema is the authority: its enums are read here, so a number cannot drift.
    #[test]
    fn numbers_are_those_of_the_schema() {
        let schema = include_str!("../../../../proto/telemetry.proto");
        let in_schema = |name: &str, number: u32| schema.contains(&format!("  {name} = {number};"));
        let upper_snake = |debug: String| {
            let mut name = String::new();
            for letter in debug.chars() {
                if letter.is_uppercase() && !name.is_empty() {
                    name.push('_');
                }
                name.extend(letter.to_uppercase());
            }
            name
        };
        for outcome in Outcome::ALL {
            assert!(in_schema(&upper_snake(format!("{outcome:?}")), outcome.number()), "{outcome:?}");
        }
        for reason in &Reason::ALL[1..] {
            assert!(in_schema(&upper_snake(format!("{reason:?}")), reason.number()), "{reason:?}");
            assert_eq!(upper_snake(format!("{reason:?}")).to_lowercase(), reason.as_str());
        }
        for code in CloseCode::ALL {
            assert!(in_schema(&upper_snake(format!("{code:?}")), code.number()), "{code:?}");
            assert_eq!(upper_snake(format!("{code:?}")).to_lowercase(), code.as_str());
        }
    }
}
