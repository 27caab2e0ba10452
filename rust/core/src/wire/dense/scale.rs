//! Which whole numbers stand for the values of a group of series: the first byte of the group.

/// Powers of ten that doubles hold exactly.
const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];
/// From here on every double is a whole number.
const ALL_WHOLE: f64 = 4_503_599_627_370_496.0;
/// Set in a byte that means a power of two, which stands below it, counted from the least.
const BINARY: u8 = 0x40;
/// The byte that means the bits themselves.
const RAW: u8 = 0x3f;

/// How a whole number stands for a double. Of several that do, any may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wire) enum Scale {
    /// The number, as a double, divided by 10 to this power, as doubles are divided.
    Decimal(u8),
    /// The number, as a double, times 2 to this power.
    Binary(i8),
    /// The number has the bits of the double.
    Raw,
}

impl Scale {
    /// The largest power of ten that a double holds exactly.
    pub(in crate::wire) const DECIMAL_MAX: u8 = POWERS_OF_TEN.len() as u8 - 1;
    /// Powers of two reach from this one
    pub(in crate::wire) const BINARY_MIN: i8 = -32;
    /// to this one.
    pub(in crate::wire) const BINARY_MAX: i8 = 31;

    pub(in crate::wire) const fn byte(self) -> u8 {
        match self {
            Self::Decimal(exponent) => exponent,
            Self::Binary(exponent) => BINARY | (exponent - Self::BINARY_MIN) as u8,
            Self::Raw => RAW,
        }
    }

    /// `None` for a byte that means nothing.
    pub(in crate::wire) const fn parse(byte: u8) -> Option<Self> {
        match byte {
            0..=Self::DECIMAL_MAX => Some(Self::Decimal(byte)),
            RAW => Some(Self::Raw),
            BINARY..=0x7f => Some(Self::Binary((byte & !BINARY) as i8 + Self::BINARY_MIN)),
            _ => None,
        }
    }

    /// The number that stands for a double, when there is one.
    #[inline]
    pub(in crate::wire) fn number(self, value: f64) -> Option<i64> {
        let (number, back) = match self {
            Self::Decimal(exponent) => {
                let scaled = value * divisor(exponent);
                // Half a unit away from zero, cut. Above 2^52 doubles are whole, and a half would round them to even.
                let half = if scaled.abs() < ALL_WHOLE { 0.5_f64.copysign(scaled) } else { 0.0 };
                let number = (scaled + half) as i64;
                (number, number as f64 / divisor(exponent))
            }
            Self::Binary(exponent) => {
                let number = (value * power_of_two(-exponent)) as i64;
                (number, number as f64 * power_of_two(exponent))
            }
            Self::Raw => return Some(value.to_bits() as i64),
        };
        // A number that does not stand for the double, cut or of another sign, is found here.
        (back.to_bits() == value.to_bits()).then_some(number)
    }
}

/// What [`Scale::Decimal`] divides by.
#[inline]
pub(in crate::wire) fn divisor(exponent: u8) -> f64 {
    POWERS_OF_TEN[usize::from(exponent)]
}

/// What [`Scale::Binary`] multiplies with.
#[inline]
pub(in crate::wire) fn power_of_two(exponent: i8) -> f64 {
    // Small powers of two have a normal exponent and no other bits.
    f64::from_bits(((1_023 + i64::from(exponent)) as u64) << 52)
}
