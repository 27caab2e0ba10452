//! A connected socket for one connection: only there the system reports that nobody listens, which quinn does not hear of.

use std::fmt;
use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::Notify;

/// The default holds a few dozen datagrams; what does not fit would count as lost on the network.
const SEND_BUFFER_BYTES: usize = 1024 * 1024;

/// What the network said about the other end, newest first heard.
#[derive(Debug, Default)]
pub(super) struct Reports {
    newest: Mutex<Option<String>>,
    told: Notify,
}

impl Reports {
    /// Waits for the next report.
    pub(super) async fn next(&self) -> String {
        loop {
            if let Some(report) = self.newest.lock().take() {
                return report;
            }
            self.told.notified().await;
        }
    }

    fn tell(&self, error: &io::Error) {
        *self.newest.lock() = Some(error.to_string());
        self.told.notify_one();
    }
}

pub(super) struct ConnectedSocket {
    io: UdpSocket,
    state: UdpSocketState,
    reports: Arc<Reports>,
}

impl ConnectedSocket {
    /// Runs inside the runtime.
    pub(super) fn new(peer: SocketAddr, reports: Arc<Reports>) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(peer), Type::DGRAM, Some(Protocol::UDP))?;
        let any: SocketAddr = match peer {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        socket.bind(&any.into())?;
        socket.connect(&peer.into())?;
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        let state = UdpSocketState::new((&socket).into())?;
        socket.set_nonblocking(true)?;
        Ok(Self { io: UdpSocket::from_std(socket.into())?, state, reports })
    }

    fn report(&self, error: &io::Error) {
        if matches!(
            error.kind(),
            ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable
        ) {
            self.reports.tell(error);
        }
    }
}

impl fmt::Debug for ConnectedSocket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ConnectedSocket").field("io", &self.io).finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for ConnectedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable(self))
    }

    /// What cannot be sent is to QUIC a datagram lost on its way, and sent again or given up like any other.
    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match self.io.try_io(Interest::WRITABLE, || self.state.try_send((&self.io).into(), transmit)) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(error),
            Err(error) => {
                self.report(&error);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.io.poll_recv_ready(context))?;
            match self.io.try_io(Interest::READABLE, || self.state.recv((&self.io).into(), buffers, meta)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Each report is taken off the socket by the call that returns it.
                Err(error) => self.report(&error),
                Ok(received) => return Poll::Ready(Ok(received)),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

/// Only the endpoint's one connection waits here, so one waiting place is enough.
#[derive(Debug)]
struct Writable(Arc<ConnectedSocket>);

impl UdpPoller for Writable {
    fn poll_writable(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.io.poll_send_ready(context)
    }
}
