//! One stream: bytes out as flow control lets them, bytes in as they come.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use super::events::{Events, What};
use crate::quic::provoked::place;

/// Bytes of one event: as much as is there, up to this.
const CHUNK_BYTES_MAX: usize = 64 * 1024;
/// How long a stream's end is not told that nobody has stopped, at least.
const STOP_PATIENCE: Duration = Duration::from_millis(50);

/// Bytes to send, and whether they are the stream's last.
pub(super) struct Order {
    pub(super) data: Bytes,
    pub(super) finish: bool,
}

pub(super) struct Context {
    pub(super) connection: u64,
    pub(super) stream: u64,
    pub(super) events: Arc<Events>,
    pub(super) queued: Arc<AtomicUsize>,
}

/// Returns when both directions have ended. The connection's end is told by the connection.
pub(super) async fn run(connection: quinn::Connection, context: Context, orders: UnboundedReceiver<Order>) {
    let Ok((send, receive)) = connection.open_bi().await else { return };
    place("client stream");
    let told = Notify::new();
    tokio::join!(write(send, &context, orders, &told), async {
        if !read(receive, &context).await {
            return;
        }
        // Who stops a stream finishes it next. That it was stopped must be known before its end, or what to make of its
        // unanswered frames is not; on the network the two may overtake each other.
        let patience = STOP_PATIENCE.max(connection.rtt() * 3);
        let _ = timeout(patience, told.notified()).await;
        context.events.push(context.connection, What::Ended(context.stream));
    });
}

async fn write(mut send: SendStream, context: &Context, mut orders: UnboundedReceiver<Order>, told: &Notify) {
    let stopped = send.stopped();
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            biased;
            code = &mut stopped => {
                if let Ok(Some(code)) = code {
                    context.events.push(context.connection, What::Stopped(context.stream, code.into_inner()));
                }
                break;
            }
            order = orders.recv() => match order {
                Some(Order { data, finish }) => {
                    let bytes = data.len();
                    // An error says that the collector has stopped it or is gone, which is told elsewhere.
                    let written = send.write_chunk(data).await;
                    context.queued.fetch_sub(bytes, Relaxed);
                    if written.is_ok() && finish {
                        let _ = send.finish();
                        told.notify_one();
                    }
                }
                None => break,
            }
        }
    }
    told.notify_one();
    orders.close();
    while let Ok(order) = orders.try_recv() {
        context.queued.fetch_sub(order.data.len(), Relaxed);
    }
}

/// True when the stream ended, false when the connection did.
async fn read(mut receive: RecvStream, context: &Context) -> bool {
    loop {
        match receive.read_chunk(CHUNK_BYTES_MAX, true).await {
            Ok(Some(chunk)) => context.events.received(context.connection, context.stream, chunk.bytes).await,
            Ok(None) | Err(quinn::ReadError::Reset(_)) => return true,
            Err(_) => return false,
        }
    }
}
