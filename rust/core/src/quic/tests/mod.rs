//! The listener and the agent's half against each other, over loopback.

mod panics;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::client::{Client, Closing, Connection, Credentials, Target, TlsSettings, What};
use super::server::{Deadlines, Event, Server, ServerSettings, Trust};
use crate::ingest::{Ingest, IngestSettings, Wake};
use crate::journal::{JournalSettings, MemoryStorage};
use crate::limits::Limits;
use crate::wire::{AckReader, BatchName, EncoderSettings, FrameEncoder, Outcome, OutgoingBatch, OutgoingSeries};

const PATIENCE: Duration = Duration::from_secs(20);
const AUTHORITY: &[u8] = include_bytes!("authority.der");
const OWN: &[u8] = include_bytes!("own.der");
const KEY: &[u8] = include_bytes!("own.key.der");

/// A listener with an ingest in memory behind it.
struct Site {
    server: Server,
    address: SocketAddr,
    woken: Receiver<()>,
    /// Or a panic that one test provokes would hit another's connection.
    _alone: MutexGuard<'static, ()>,
}

static ALONE: Mutex<()> = Mutex::new(());

impl Site {
    fn new() -> Self {
        Self::with(Limits::default(), Box::new(|| {}))
    }

    /// With these limits; `committed` is called on the committer's thread after each commit.
    fn with(limits: Limits, committed: Wake) -> Self {
        let alone = ALONE.lock();
        let journal = JournalSettings { segment_bytes: 4 << 20, bytes_max: 64 << 20, ..JournalSettings::default() };
        let settings = IngestSettings { limits, bind_node_id: true, recent_bytes_max: 1 << 20, journal };
        let ingest = Ingest::open(Arc::new(MemoryStorage::new()), settings, committed).expect("it is empty");
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        socket.set_nonblocking(true).expect("a socket");
        let address = socket.local_addr().expect("bound");
        let deadlines = Deadlines {
            idle: PATIENCE,
            handshake: PATIENCE,
            frame: PATIENCE,
            replies: PATIENCE,
            expiry: Duration::from_millis(10),
        };
        let settings = ServerSettings {
            certificates: vec![OWN.to_vec().into()],
            key: KEY.to_vec().into(),
            reset_key: [7; 32],
            threads: Some(2),
            connections_max: 16,
            connections_per_identity_max: None,
            handshakes_max: 16,
            handshakes_per_address: 16,
            connections_per_address_per_sec: 100,
            deadlines,
        };
        let trust = Trust::new(&[AUTHORITY.to_vec()], Vec::new(), &["*".to_owned()], &[]).expect("an authority");
        let (wake, woken) = channel();
        let wake = Box::new(move || wake.send(()).unwrap_or_default());
        let server = Server::start(socket, &settings, Arc::new(trust), ingest, wake).expect("it listens");
        Self { server, address, woken, _alone: alone }
    }

    /// Waits for the first event that is one of those.
    fn event<T>(&self, wanted: impl Fn(Event) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.server.take_events().events.into_iter().find_map(&wanted) {
                return found;
            }
            self.woken.recv_timeout(until.saturating_duration_since(Instant::now())).expect("it happens");
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.close();
    }
}

/// Connections of one process, each with one conversation on its first stream.
struct Agents {
    client: Client,
    woken: Receiver<()>,
    address: SocketAddr,
    credentials: Credentials,
}

struct Agent {
    connection: Connection,
    encoder: FrameEncoder,
    acks: AckReader,
    sequence: u64,
}

impl Agents {
    fn of(site: &Site) -> Self {
        let (wake, woken) = channel();
        let client = Client::new(Box::new(move || wake.send(()).unwrap_or_default()));
        let settings =
            TlsSettings { chain: vec![OWN.to_vec()], key: KEY.to_vec(), authorities: vec![AUTHORITY.to_vec()] };
        Self { client, woken, address: site.address, credentials: Credentials::new(settings).expect("they fit") }
    }

    fn connect(&self) -> Agent {
        let target = Target {
            address: self.address,
            server_name: "127.0.0.1".to_owned(),
            datagram_bytes_max: 1_200,
            unreachable: PATIENCE,
        };
        let connection = self.client.connect(target, &self.credentials).expect("a socket");
        Agent {
            connection,
            encoder: FrameEncoder::new(EncoderSettings::default()).expect("memory"),
            acks: AckReader::default(),
            sequence: 0,
        }
    }

    /// Sends a batch of an agent, and waits for its outcome or the connection's end.
    fn ask(&self, agent: &mut Agent) -> Result<Outcome, Closing> {
        let until = Instant::now() + PATIENCE;
        let own = agent.connection.number();
        let mut sent = agent.sequence > 0;
        if sent {
            agent.send(1);
        }
        loop {
            for event in self.client.take_events() {
                assert_eq!(event.connection, own, "nothing happens to the others");
                match event.what {
                    What::Established(_) if !sent => {
                        sent = true;
                        agent.send(1);
                    }
                    What::Received(_, data) => {
                        if let Some(ack) = agent.acks.feed(&data).expect("replies").pop() {
                            return Ok(ack.outcome);
                        }
                    }
                    What::Closed(closing) => return Err(closing),
                    _ => {}
                }
            }
            self.woken.recv_timeout(until.saturating_duration_since(Instant::now())).expect("it happens");
        }
    }
}

impl Agent {
    /// Sends a batch of so many points; returns the bytes of its frame.
    fn send(&mut self, points: usize) -> usize {
        self.sequence += 1;
        let series =
            OutgoingSeries { name: "m".into(), tags: Vec::new(), metric_type: 2, unit: "1".into(), delta: false };
        let batch = OutgoingBatch::new(Vec::new(), vec![series], vec![0; points], vec![0; points], vec![1.0; points])
            .expect("consistent");
        let name = BatchName { sequence: self.sequence, epoch: self.connection.number(), oldest_unacknowledged: 0 };
        let mut frame = Vec::new();
        self.encoder.frame(Some(&batch), name, None, &mut frame).expect("small");
        let bytes = frame.len();
        self.connection.write(0, frame.into(), false).expect("room");
        bytes
    }
}
