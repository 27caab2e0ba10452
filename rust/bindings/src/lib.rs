//! The extension module `telemetry_collector._core`: one class a file, exported here. Only this crate knows Python.

mod ack;
mod arrow_import;
mod batch;
mod blocks;
mod conversation;
mod cursor;
mod detached;
mod errors;
mod fault_disk;
mod frame_encoder;
mod heartbeat;
mod ingest;
mod inspection;
mod line_protocol;
mod part_encoder;
#[cfg(feature = "quinn")]
mod quic_client;
#[cfg(feature = "quinn")]
mod quic_load;
#[cfg(feature = "quinn")]
mod quic_server;
mod quotas;
mod record_batch;
mod relay;
mod request;
mod requests;
mod settings;
mod signals;
mod spool;
mod wake;
mod workers;

use pyo3::prelude::*;

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("CARDINALITY_MAX", telemetry_core::limits::CARDINALITY_MAX)?;
    module.add("CoreError", module.py().get_type::<errors::CoreError>())?;
    module.add("JournalError", module.py().get_type::<errors::JournalError>())?;
    module.add("EncodeError", module.py().get_type::<errors::EncodeError>())?;
    module.add("RequestError", module.py().get_type::<errors::RequestError>())?;
    module.add("RequestTooLargeError", module.py().get_type::<errors::RequestTooLargeError>())?;
    module.add_class::<settings::IngestSettings>()?;
    module.add_class::<fault_disk::FaultDisk>()?;
    module.add_class::<quotas::Quota>()?;
    module.add_class::<quotas::Quotas>()?;
    module.add_class::<ingest::Ingest>()?;
    module.add_class::<conversation::Conversation>()?;
    module.add_class::<request::RequestForm>()?;
    module.add_class::<request::Request>()?;
    module.add_class::<signals::Signals>()?;
    module.add_class::<signals::SignalCursor>()?;
    module.add_class::<signals::SignalBlocks>()?;
    module.add_class::<requests::Requests>()?;
    module.add_class::<cursor::Cursor>()?;
    module.add_class::<blocks::Blocks>()?;
    module.add_class::<record_batch::RecordBatch>()?;
    module.add_class::<record_batch::Schema>()?;
    module.add_class::<part_encoder::PartEncoder>()?;
    module.add_class::<line_protocol::LineProtocol>()?;
    module.add_class::<batch::Batch>()?;
    module.add_class::<frame_encoder::FrameEncoder>()?;
    module.add_class::<heartbeat::Heartbeat>()?;
    module.add_class::<spool::Spool>()?;
    module.add_class::<relay::RelayStream>()?;
    module.add_class::<relay::RelayedBatch>()?;
    module.add_class::<ack::Ack>()?;
    module.add_class::<ack::AckReader>()?;
    #[cfg(feature = "quinn")]
    {
        module.add_class::<quic_client::QuicCredentials>()?;
        module.add_class::<quic_client::QuicClient>()?;
        module.add_class::<quic_client::QuicConnection>()?;
        module.add_class::<quic_load::QuicLoad>()?;
        module.add_class::<quic_server::QuicServerSettings>()?;
        module.add_class::<quic_server::QuicTrust>()?;
        module.add_class::<quic_server::QuicServer>()?;
        module.add_function(wrap_pyfunction!(quic_server::identity_of, module)?)?;
    }
    module.add_function(wrap_pyfunction!(inspection::inspect_journal, module)?)?;
    module.add_function(wrap_pyfunction!(request::unpack_small, module)?)?;
    Ok(())
}
