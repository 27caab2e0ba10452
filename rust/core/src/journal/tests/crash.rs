//! A crash at every single operation of the storage, one after the other.

use super::world::{CONSUMERS, End, World};

/// Fills segments, stores cursors and checkpoints and deletes what all have passed.
fn scenario(world: &mut World) {
    for round in 1..=3 {
        for _ in 0..4 {
            world.append(&[9_000]);
            world.append_together(&[20_000, 100]);
            world.settle();
        }
        world.checkpoint(2 * round);
        world.store_cursor(CONSUMERS[0], 2 * round);
        world.store_cursor(CONSUMERS[1], 2 * round + 1);
        world.trim();
    }
}

/// Fills the log to its bound while one consumer stands still, twice, and makes room at its cost.
fn full(world: &mut World) {
    for _ in 0..2 {
        for _ in 0..8 {
            world.append(&[30_000; 4]);
            world.settle();
        }
        world.store_cursor(CONSUMERS[1], 6);
        world.make_room();
    }
}

/// Runs a scenario with a crash before the k-th operation, for every k; then lives on and crashes again.
fn sweep(scenario: fn(&mut World), end: End, seeds: u64) {
    let mut world = World::new(1);
    let before = world.storage.operations();
    scenario(&mut world);
    let operations = world.storage.operations() - before;
    assert!(operations > 100, "{operations} operations are no sweep");
    for seed in 0..seeds {
        for crash in 0..operations {
            let mut world = World::new(seed * 1_000 + crash + 1);
            world.storage.crash_after(crash);
            scenario(&mut world);
            world.restart(end);
            world.append(&[5_000, 5_000]);
            world.settle();
            world.check_readers();
            world.restart(end);
        }
    }
}

#[test]
fn killed_at_any_operation_nothing_committed_is_lost_or_doubled() {
    sweep(scenario, End::Kill, 1);
}

#[test]
fn without_power_at_any_operation_nothing_committed_is_lost_or_doubled() {
    sweep(scenario, End::PowerLoss, 3);
}

#[test]
fn a_crash_while_room_is_made_costs_the_consumer_that_gives_way_and_nobody_else() {
    let mut world = World::new(1);
    full(&mut world);
    assert!(world.gave_way >= 2, "room was made {} times", world.gave_way);
    sweep(full, End::Kill, 1);
    sweep(full, End::PowerLoss, 1);
}

#[test]
fn a_crash_at_any_operation_of_recovery_is_recovered_from() {
    for first in [End::Kill, End::PowerLoss] {
        for crash in 0..12 {
            let mut world = World::new(crash + 77);
            scenario(&mut world);
            world.append(&[3_000; 6]);
            world.crash_in_recovery(first, crash);
        }
    }
}
