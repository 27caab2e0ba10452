//! The references of one stream: what it was told of its series' values, so that later ones are told as distances from that.

/// References by the place of their series' definition. They take nine bytes a series, and none in streams without them.
#[derive(Debug, Default)]
pub(super) struct StreamReferences {
    version: u32,
    numbers: Vec<i64>,
    /// Their scales; `NONE` where there is no reference.
    scales: Vec<u8>,
}

/// In the place of a scale.
const NONE: u8 = u8::MAX;

impl StreamReferences {
    /// Batches that have kept references, modulo 2^32.
    pub(super) fn version(&self) -> u32 {
        self.version
    }

    /// Scale and number of a series.
    #[inline]
    pub(super) fn get(&self, place: u32) -> Option<(u8, i64)> {
        let scale = *self.scales.get(place as usize)?;
        (scale != NONE).then(|| (scale, self.numbers[place as usize]))
    }

    /// Keeps what a batch has, for series of a dictionary with so many definitions.
    pub(super) fn keep(&mut self, definitions: usize, references: impl Iterator<Item = (u32, u8, i64)>) {
        self.numbers.resize(definitions, 0);
        self.scales.resize(definitions, NONE);
        for (place, scale, number) in references {
            (self.scales[place as usize], self.numbers[place as usize]) = (scale, number);
        }
        self.version = self.version.wrapping_add(1);
    }
}
