//! Blocks as the requests of other protocols: what `translate` reads, written.
//!
//! A request holds the points of many series, and those of one series stand together and in the order of their times, as
//! the protocols want it. Requests are cut at about so many bytes as are asked for.

mod gathered;
pub mod otlp;
pub mod prometheus;
#[cfg(test)]
mod tests;
mod totals;

pub use self::totals::Totals;

/// One request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Its body.
    pub body: Vec<u8>,
    /// Points in it; a histogram or summary is one.
    pub points: u64,
}

/// The requests of some blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// In no particular order of their series.
    pub requests: Vec<Request>,
    /// Points whose name or tags had to be rewritten, or that fell together with another of the same time.
    pub rewritten: u64,
}

/// Takes the message that is being written as a request when it has so many bytes.
struct Cutter {
    bytes_max: usize,
    body: Vec<u8>,
    points: u64,
    done: Requests,
}

impl Cutter {
    fn new(bytes_max: usize) -> Self {
        Self { bytes_max, body: Vec::new(), points: 0, done: Requests::default() }
    }

    fn cut_if_full(&mut self) {
        if self.body.len() >= self.bytes_max {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if !self.body.is_empty() {
            let body = std::mem::take(&mut self.body);
            self.done.requests.push(Request { body, points: std::mem::take(&mut self.points) });
        }
    }

    fn finish(mut self) -> Requests {
        self.cut();
        self.done
    }
}
