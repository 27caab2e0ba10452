//! One connection: a handle that never waits, and a task that does what it is told.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use quinn::{Endpoint, EndpointConfig, TokioRuntime, VarInt};
use rustls::pki_types::CertificateDer;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::departures::{Departure, Departures};
use super::events::{Events, What};
use super::socket::{ConnectedSocket, Reports};
use super::stream::{self, Order};
use super::{Closing, Credentials, Target, runtime};
use crate::quic::provoked::place;

/// Bytes that a connection keeps for flow control to let through. The window of batches in flight stands far below it.
pub const QUEUED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Turns of the runtime that a close is given to be sent.
const CLOSE_TURNS_MAX: usize = 1_000;

/// Longer reasons of a close are cut off.
const REASON_BYTES_MAX: usize = 200;

/// More bytes are waiting than a connection keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{queued} bytes wait to be sent; a connection keeps at most {QUEUED_BYTES_MAX}")]
pub struct QueueFull {
    /// Bytes that wait.
    pub queued: usize,
}

enum Command {
    Stream(u64, Order),
    Close(u32, Vec<u8>, Departure),
}

/// A connection as its owner holds it. Dropping it closes the connection with code 0.
#[derive(Debug)]
pub struct Connection {
    number: u64,
    commands: UnboundedSender<Command>,
    queued: Arc<AtomicUsize>,
    departures: Arc<Departures>,
}

impl Connection {
    pub(super) fn start(
        number: u64,
        target: Target,
        credentials: &Credentials,
        events: Arc<Events>,
        departures: Arc<Departures>,
    ) -> std::io::Result<Self> {
        let runtime = runtime::handle()?;
        let _inside = runtime.enter();
        let reports = Arc::new(Reports::default());
        let socket = Arc::new(ConnectedSocket::new(target.address, Arc::clone(&reports))?);
        let mut endpoint = EndpointConfig::default();
        endpoint.max_udp_payload_size(target.datagram_bytes_max.max(1_472)).expect("above the least");
        let endpoint = Endpoint::new_with_abstract_socket(endpoint, None, socket, Arc::new(TokioRuntime))?;
        let configuration = credentials.configuration(target.datagram_bytes_max);
        let connecting = endpoint
            .connect_with(configuration, target.address, &target.server_name)
            .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error))?;
        let (commands, received) = unbounded_channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let task = Task {
            number,
            target,
            events,
            reports,
            queued: Arc::clone(&queued),
            commands: received,
            streams: HashMap::new(),
            tasks: JoinSet::new(),
            streams_end: 0,
            endpoint,
        };
        runtime.spawn(task.run(connecting));
        Ok(Self { number, commands, queued, departures })
    }

    /// What events call it.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Bytes written that flow control has not let through yet.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queued.load(Relaxed)
    }

    /// Puts bytes on a stream, which the first ones open, and finishes it if they are its last. Nothing happens once the
    /// connection is over.
    ///
    /// # Errors
    /// [`QueueFull`]: nothing of it is sent.
    pub fn write(&self, stream: u64, data: Bytes, finish: bool) -> Result<(), QueueFull> {
        let queued = self.queued_bytes();
        if queued + data.len() > QUEUED_BYTES_MAX {
            return Err(QueueFull { queued });
        }
        self.queued.fetch_add(data.len(), Relaxed);
        self.command(Command::Stream(stream, Order { data, finish }));
        Ok(())
    }

    /// Closes the connection. Its end is no event then, and no other event comes that has not happened yet.
    pub fn close(&self, code: u32, reason: &str) {
        let end = (0..=REASON_BYTES_MAX.min(reason.len())).rev().find(|&end| reason.is_char_boundary(end));
        let reason = reason.as_bytes()[..end.unwrap_or(0)].to_vec();
        self.command(Command::Close(code, reason, self.departures.begin()));
    }

    fn command(&self, command: Command) {
        // Nobody takes commands any more once the connection is over; its end has been told.
        let _ = self.commands.send(command);
    }
}

struct Task {
    number: u64,
    target: Target,
    events: Arc<Events>,
    reports: Arc<Reports>,
    queued: Arc<AtomicUsize>,
    commands: UnboundedReceiver<Command>,
    streams: HashMap<u64, UnboundedSender<Order>>,
    /// One for each stream. They end with this.
    tasks: JoinSet<()>,
    /// Behind the last stream that was opened.
    streams_end: u64,
    endpoint: Endpoint,
}

impl Task {
    async fn run(mut self, mut connecting: quinn::Connecting) {
        let connected = tokio::select! {
            connected = &mut connecting => connected.map_err(Closing::from),
            report = self.reports.next() => {
                // Or the handshake would go on, and be a connection of nobody's once somebody listens there.
                drop(connecting);
                Err(Closing::network(report))
            }
            () = asked_to_close(&mut self.commands) => {
                drop(connecting);
                self.take_no_more();
                self.endpoint.wait_idle().await;
                return;
            }
        };
        let ended = match connected {
            Ok(connection) => {
                self.events.push(self.number, What::Established(chain_of(&connection)));
                self.serve(connection).await
            }
            Err(closing) => Some(closing),
        };
        self.tasks.abort_all();
        self.take_no_more();
        if let Some(closing) = ended {
            self.events.push(self.number, What::Closed(closing));
        }
        // The close is on its way until the endpoint is idle.
        self.endpoint.wait_idle().await;
    }

    /// A close that comes after the end has nothing to wait for, nor has one that is in the queue.
    fn take_no_more(&mut self) {
        self.commands.close();
        while self.commands.try_recv().is_ok() {}
    }

    /// None: our side closed it.
    async fn serve(&mut self, connection: quinn::Connection) -> Option<Closing> {
        let reports = Arc::clone(&self.reports);
        let unreachable = unreachable(&connection, &reports, self.target.unreachable);
        tokio::pin!(unreachable);
        loop {
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(Command::Stream(number, order)) => self.order(&connection, number, order),
                    Some(Command::Close(code, reason, departure)) => {
                        connection.close(VarInt::from_u32(code), &reason);
                        sent(&connection).await;
                        drop(departure);
                        return None;
                    }
                    None => return None,
                },
                error = connection.closed() => return Some(Closing::from(error)),
                Some(ended) = self.tasks.join_next() => if let Err(error) = ended {
                    connection.close(VarInt::from_u32(0), b"a stream's task failed");
                    return Some(Closing::fault(&format!("a stream's task failed: {error}")));
                },
                report = &mut unreachable => {
                    connection.close(VarInt::from_u32(0), report.as_bytes());
                    return Some(Closing::network(report));
                }
            }
        }
    }

    fn order(&mut self, connection: &quinn::Connection, number: u64, order: Order) {
        place("client connection");
        let (last, bytes) = (order.finish, order.data.len());
        // Streams are opened in ascending order. One that is over never comes again under its number: what the collector
        // would answer on it were taken for answers on the first.
        if number >= self.streams_end {
            self.streams_end = number + 1;
            let (orders, received) = unbounded_channel();
            let context = stream::Context {
                connection: self.number,
                stream: number,
                events: Arc::clone(&self.events),
                queued: Arc::clone(&self.queued),
            };
            self.streams.insert(number, orders);
            self.tasks.spawn(stream::run(connection.clone(), context, received));
        }
        // A stream that the collector has ended takes no more; that has been told, or will be.
        if self.streams.get(&number).is_none_or(|orders| orders.send(order).is_err()) {
            self.queued.fetch_sub(bytes, Relaxed);
        }
        if last {
            self.streams.retain(|_, orders| !orders.is_closed());
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Its owner would wait for replies. The collector hears of it when the last handle goes, with this.
            self.events.push(self.number, What::Closed(Closing::fault("the connection's task failed")));
        }
    }
}

/// Orders before the handshake is done are for nobody: only a close counts, and that the owner is gone.
async fn asked_to_close(commands: &mut UnboundedReceiver<Command>) {
    while let Some(command) = commands.recv().await {
        if matches!(command, Command::Close(..)) {
            return;
        }
    }
}

/// Returns when the network has said that nobody listens and no datagram came for a while after.
async fn unreachable(connection: &quinn::Connection, reports: &Reports, patience: Duration) -> String {
    loop {
        let report = reports.next().await;
        let before = connection.stats().udp_rx.datagrams;
        tokio::time::sleep(patience).await;
        if connection.stats().udp_rx.datagrams == before {
            return report;
        }
    }
}

/// Lets quinn's own tasks run until they have sent the close; one whose socket is full may give up.
async fn sent(connection: &quinn::Connection) {
    for _ in 0..CLOSE_TURNS_MAX {
        if connection.stats().frame_tx.connection_close > 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
}

fn chain_of(connection: &quinn::Connection) -> Vec<Vec<u8>> {
    let identity = connection.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    identity.map(|chain| chain.iter().map(|one| one.to_vec()).collect()).unwrap_or_default()
}
