//! One stream: bytes out as flow control lets them, bytes in as they come.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use tokio::sync::mpsc::UnboundedReceiver;

use super::events::{Events, What};

/// Bytes of one event: as much as is there, up to this.
const CHUNK_BYTES_MAX: usize = 64 * 1024;

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
    tokio::join!(write(send, &context, orders), read(receive, &context));
}

async fn write(mut send: SendStream, context: &Context, mut orders: UnboundedReceiver<Order>) {
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
                    }
                }
                None => break,
            }
        }
    }
    orders.close();
    while let Ok(order) = orders.try_recv() {
        context.queued.fetch_sub(order.data.len(), Relaxed);
    }
}

async fn read(mut receive: RecvStream, context: &Context) {
    loop {
        match receive.read_chunk(CHUNK_BYTES_MAX, true).await {
            Ok(Some(chunk)) => context.events.received(context.connection, context.stream, chunk.bytes).await,
            Ok(None) | Err(quinn::ReadError::Reset(_)) => break,
            Err(_) => return,
        }
    }
    context.events.push(context.connection, What::Ended(context.stream));
}
