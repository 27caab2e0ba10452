//! Finds the rounds in a column of ids: the same series in the same order, again and again.

use std::ops::Range;

/// With fewer points in a message than this, on the average, rounds are not worth their own messages.
const POINTS_A_GRID_MIN: usize = 32;

/// Points that go in one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) points: Range<usize>,
    /// Points of one round.
    pub(super) series: usize,
}

/// The grids that a column consists of; one of a single round when its rounds are of no use.
pub(super) fn grids(ids: &[u32]) -> Vec<Grid> {
    let mut grids = Vec::new();
    let mut start = 0;
    while start < ids.len() {
        let series = period(&ids[start..]);
        let repeated =
            ids[start + series..].iter().zip(&ids[start..]).take_while(|(now, before)| now == before).count();
        let rounds = 1 + repeated / series;
        grids.push(Grid { points: start..start + series * rounds, series });
        start += series * rounds;
        if grids.len() > 1 + ids.len() / POINTS_A_GRID_MIN {
            return vec![Grid { points: 0..ids.len(), series: ids.len() }];
        }
    }
    grids
}

/// Points until the first series comes again.
fn period(ids: &[u32]) -> usize {
    ids.iter().skip(1).position(|&id| id == ids[0]).map_or(ids.len(), |further| further + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(ids: &[u32]) -> Vec<(usize, usize)> {
        grids(ids).into_iter().map(|grid| (grid.points.len(), grid.series)).collect()
    }

    #[test]
    fn rounds_are_found_wherever_they_begin() {
        assert_eq!(found(&[1, 2, 3].repeat(20)), [(60, 3)]);
        assert_eq!(found(&[7]), [(1, 1)]);
        assert_eq!(found(&[7; 50]), [(50, 1)]);
        // A batch that was cut inside a round begins with the middle of one, and ends there.
        let ids: Vec<u32> = (0..100).cycle().skip(40).take(330).collect();
        assert_eq!(found(&ids), [(300, 100), (30, 30)]);
    }

    #[test]
    fn what_has_no_rounds_is_one() {
        let ids: Vec<u32> = (0..100).flat_map(|id| [id, id]).collect();
        assert_eq!(found(&ids), [(200, 200)]);
    }
}
