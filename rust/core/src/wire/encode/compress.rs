//! Compresses a batch's contents, at the fastest level: the network is the cheaper resource only up to a point.

use flate2::{Compress, FlushCompress, Status};

use super::EncodeError;

/// How contents are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// One gzip member.
    Gzip,
    /// One zstd frame.
    Zstd,
}

/// A compressor that serves one stream, and what it made last.
pub(super) struct Compressor {
    engine: Engine,
    output: Vec<u8>,
}

enum Engine {
    None,
    Gzip(Compress),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Compressor {
    pub(super) fn new(compression: Compression) -> Result<Self, EncodeError> {
        let engine = match compression {
            Compression::None => Engine::None,
            Compression::Gzip => Engine::Gzip(Compress::new_gzip(flate2::Compression::fast(), 15)),
            Compression::Zstd => Engine::Zstd(zstd::bulk::Compressor::new(1).map_err(failed)?),
        };
        Ok(Self { engine, output: Vec::new() })
    }

    /// The contents compressed, with the number of the algorithm; `None` when they are to be sent as they are.
    pub(super) fn compress(&mut self, contents: &[u8]) -> Result<Option<(u32, &[u8])>, EncodeError> {
        self.output.clear();
        let algorithm = match &mut self.engine {
            Engine::None => return Ok(None),
            Engine::Gzip(engine) => {
                gzip(engine, contents, &mut self.output)?;
                1
            }
            Engine::Zstd(engine) => {
                self.output.reserve(zstd::zstd_safe::compress_bound(contents.len()));
                engine.compress_to_buffer(contents, &mut self.output).map_err(failed)?;
                2
            }
        };
        Ok(Some((algorithm, &self.output)))
    }
}

fn gzip(engine: &mut Compress, contents: &[u8], output: &mut Vec<u8>) -> Result<(), EncodeError> {
    engine.reset();
    loop {
        let taken = engine.total_in() as usize;
        output.reserve((contents.len() - taken) / 4 + 256);
        match engine.compress_vec(&contents[taken..], output, FlushCompress::Finish).map_err(failed)? {
            Status::StreamEnd => return Ok(()),
            Status::Ok | Status::BufError => {}
        }
    }
}

fn failed(error: impl std::fmt::Display) -> EncodeError {
    EncodeError::Compressor(error.to_string())
}
