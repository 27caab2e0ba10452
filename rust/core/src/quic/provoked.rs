//! Panics that tests provoke, so that what becomes of one is a promise and not a hope. Outside of tests there are none.

#[cfg(test)]
static NEXT: parking_lot::Mutex<Option<&'static str>> = parking_lot::Mutex::new(None);

/// Makes the next task panic that comes by the place of this name.
#[cfg(test)]
pub(super) fn provoke(place: &'static str) {
    *NEXT.lock() = Some(place);
}

/// A place where a task may panic.
#[inline]
pub(super) fn place(name: &'static str) {
    #[cfg(test)]
    assert!(NEXT.lock().take_if(|wanted| *wanted == name).is_none(), "provoked: {name}");
    #[cfg(not(test))]
    let _ = name;
}
