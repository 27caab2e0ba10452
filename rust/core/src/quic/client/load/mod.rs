//! Many simulated agents in one process: closed loops without Python, for those who measure a collector.
//!
//! Each agent has a connection, one stream and frames that were encoded before. It follows the collector's credit, sends
//! again what is to be sent again, and notes what was acknowledged under which name and how long that took.

mod agent;
mod counters;
mod frame;
mod histogram;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::{Credentials, Target, runtime};
use agent::Agent;
pub use agent::{Record, UNANSWERED};
pub use counters::{Counters, Figures};
pub use frame::NotAFrame;
use frame::Prepared;

/// Handshakes at a time: a fleet that starts is not what is measured.
const HANDSHAKES_MAX: usize = 32;
/// Sockets that all connections share.
const SOCKETS: usize = 4;
/// Buffers of each, as far as the system allows.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// One simulated agent.
#[derive(Clone, Debug)]
pub struct AgentSettings {
    /// What it proves itself with.
    pub credentials: Credentials,
    /// What its batches are named with, never 0.
    pub epoch: u64,
    /// Frames that are sent once and first, as they define series; length prefix included, named anything.
    pub opening: Vec<Vec<u8>>,
    /// Frames that are sent over and over after these, on the same stream.
    pub cycle: Vec<Vec<u8>>,
}

/// How a load runs.
#[derive(Clone, Debug)]
pub struct LoadSettings {
    /// The collector.
    pub target: Target,
    /// Batches a second of each agent; None: as many as credit lets through.
    pub batches_per_sec: Option<f64>,
    /// Batches that an agent has in flight at most, whatever the credit.
    pub inflight_max: u32,
    /// How long a handshake may take.
    pub connect_timeout: Duration,
}

/// Where a load stands; every agent watches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Sending,
    /// No batches that are due from this instant on; what is in flight is waited for.
    Draining(Instant),
    Over,
}

/// Simulated agents at work. Dropping it ends them.
#[derive(Debug)]
pub struct Load {
    counters: Arc<Counters>,
    phase: watch::Sender<Phase>,
    records: Vec<Arc<Mutex<Record>>>,
    agents: Mutex<JoinSet<()>>,
}

impl Load {
    /// Begins to connect every agent.
    ///
    /// # Errors
    /// The operating system's, when there are no sockets to be had; [`NotAFrame`] as one of kind `InvalidInput`.
    pub fn start(settings: &LoadSettings, agents: Vec<AgentSettings>) -> std::io::Result<Self> {
        let runtime = runtime::handle()?;
        let _inside = runtime.enter();
        let endpoints = (0..SOCKETS).map(|_| endpoint(&settings.target)).collect::<Result<Vec<_>, _>>()?;
        let (phase, watched) = watch::channel(Phase::Connecting);
        let counters = Arc::new(Counters::default());
        let turns = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        let count = agents.len();
        let mut records = Vec::with_capacity(count);
        let mut tasks = JoinSet::new();
        for (place, one) in agents.into_iter().enumerate() {
            let record = Arc::new(Mutex::new(Record::default()));
            records.push(Arc::clone(&record));
            let interval = settings.batches_per_sec.map(|rate| Duration::from_secs_f64(1.0 / rate));
            let agent = Agent {
                endpoint: endpoints[place % SOCKETS].clone(),
                configuration: one.credentials.configuration(settings.target.datagram_bytes_max),
                target: settings.target.clone(),
                connect_timeout: settings.connect_timeout,
                epoch: one.epoch,
                prepared: Prepared::new(&one.opening, &one.cycle)
                    .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error))?,
                inflight_max: settings.inflight_max.max(1),
                interval,
                // Agents of one rate are spread over its interval, so that they do not march in step.
                offset: interval.map_or(Duration::ZERO, |whole| whole.mul_f64(place as f64 / count as f64)),
                counters: Arc::clone(&counters),
                record,
            };
            tasks.spawn(agent.run(Arc::clone(&turns), watched.clone()));
        }
        Ok(Self { counters, phase, records, agents: Mutex::new(tasks) })
    }

    /// What was counted so far, and how long answers took.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Agents send from now on; those that are not connected yet begin when they are.
    pub fn begin(&self) {
        self.phase.send_if_modified(|phase| {
            let begins = *phase == Phase::Connecting;
            *phase = if begins { Phase::Sending } else { *phase };
            begins
        });
    }

    /// Sends nothing that becomes due from now on, waits for the answers, at most so long, and closes every connection.
    pub fn stop(&self, drain: Duration) {
        let now = Instant::now();
        self.phase.send_if_modified(|phase| {
            let drains = matches!(phase, Phase::Connecting | Phase::Sending);
            *phase = if drains { Phase::Draining(now) } else { *phase };
            drains
        });
        let until = now + drain;
        let mut agents = std::mem::take(&mut *self.agents.lock());
        let Ok(runtime) = runtime::handle() else { return };
        runtime.block_on(async {
            let all = async { while agents.join_next().await.is_some() {} };
            if tokio::time::timeout_at(until.into(), all).await.is_err() {
                self.phase.send_replace(Phase::Over);
                while agents.join_next().await.is_some() {}
            }
        });
    }

    /// What each agent had acknowledged, in the order of the agents: points by sequence, from sequence 1 on.
    #[must_use]
    pub fn acknowledged(&self) -> Vec<Vec<u32>> {
        self.records.iter().map(|record| record.lock().points.clone()).collect()
    }

    /// Why agents were lost, a few of the first.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        self.counters.faults()
    }
}

fn endpoint(target: &Target) -> std::io::Result<Endpoint> {
    let any: SocketAddr = match target.address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    let buffers = socket2::SockRef::from(&socket);
    buffers.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    buffers.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    let mut configuration = EndpointConfig::default();
    configuration.max_udp_payload_size(target.datagram_bytes_max.max(1_472)).expect("above the least");
    Endpoint::new(configuration, None, socket, Arc::new(TokioRuntime))
}
