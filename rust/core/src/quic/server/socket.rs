//! The listener's socket, with room for what the system hands over in one call and no more.
//!
//! The transport keeps room for as many of the largest datagrams as the system bundles, which is nine times what a bundle
//! can be: IP's lengths have sixteen bits, however many datagrams they cover. Room that is never used need not cost
//! memory, but it does where an allocator takes it from what was used and freed before.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

use super::settings::DATAGRAM_BYTES_MAX;

/// What one call brings at most, bundled or not.
const BUNDLE_BYTES_MAX: usize = 64 * 1024;

/// The runtime's socket.
#[derive(Debug)]
pub(super) struct ListenerSocket(pub(super) Arc<dyn AsyncUdpSocket>);

impl AsyncUdpSocket for ListenerSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.0).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.0.try_send(transmit)
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_recv(context, buffers, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.0.max_transmit_segments()
    }

    /// The transport multiplies them with its largest datagram.
    fn max_receive_segments(&self) -> usize {
        self.0.max_receive_segments().min(BUNDLE_BYTES_MAX.div_ceil(DATAGRAM_BYTES_MAX.into()))
    }

    fn may_fragment(&self) -> bool {
        self.0.may_fragment()
    }
}
