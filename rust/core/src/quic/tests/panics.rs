//! A panic costs the connection in which it happens, and says so.

use super::*;
use crate::quic::client::Origin;
use crate::quic::provoked::provoke;

/// One after the other in one test: a panic hits whoever comes by its place first.
#[test]
fn a_panic_costs_one_connection_and_is_told() {
    let site = Site::new();
    let agents = Agents::of(&site);
    let mut bystander = agents.connect();
    assert_eq!(agents.ask(&mut bystander), Ok(Outcome::Stored));
    let victim_of = |place| {
        provoke(place);
        let closing = agents.ask(&mut agents.connect()).expect_err("its connection ends");
        assert!(closing.origin != Origin::Network, "at once: {closing:?}");
        closing
    };
    let mut go_on = || {
        assert_eq!(agents.ask(&mut bystander), Ok(Outcome::Stored), "the others go on");
        assert_eq!(agents.ask(&mut agents.connect()), Ok(Outcome::Stored), "and new ones are let in");
    };

    for (place, said) in [
        ("accepting", "accepting it panicked"),
        ("letting in", "its handshake panicked"),
        ("connection", "its task panicked"),
        ("stream", "provoked: stream"),
    ] {
        let closing = victim_of(place);
        assert_ne!(closing.origin, Origin::Fault, "it is the listener's");
        let problem = site.event(|event| match event {
            Event::HandlerFailed { problem, .. } => Some(problem),
            _ => None,
        });
        assert!(problem.contains(said), "{place}: {problem}");
        go_on();
    }

    for place in ["client connection", "client stream"] {
        let closing = victim_of(place);
        assert_eq!(closing.origin, Origin::Fault, "{closing:?}");
        assert!(closing.reason.contains("task failed"), "{closing:?}");
        go_on();
    }
}
