//! Request bodies as HTTP's `Content-Encoding` has them, unpacked within a bound.

use std::borrow::Cow;
use std::io::Read;

use flate2::bufread::{MultiGzDecoder, ZlibDecoder};

use super::RequestFault;
use crate::limits::ZSTD_WINDOW_LOG_MAX;

/// How a body is packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    #[default]
    Identity,
    /// gzip members.
    Gzip,
    /// A zlib stream.
    Deflate,
    /// zstd frames.
    Zstd,
    /// One block of snappy, without framing.
    Snappy,
}

impl Encoding {
    /// The encoding that a header names.
    ///
    /// # Errors
    /// [`RequestFault::UnknownEncoding`].
    pub fn named(name: &str) -> Result<Self, RequestFault> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "deflate" => Ok(Self::Deflate),
            "zstd" => Ok(Self::Zstd),
            "snappy" => Ok(Self::Snappy),
            _ => Err(RequestFault::UnknownEncoding(name.chars().take(64).collect())),
        }
    }

    /// The body's contents, at most `bytes_max` of them.
    ///
    /// # Errors
    /// [`RequestFault`]: damaged, or more than that.
    pub fn unpack(self, body: &[u8], bytes_max: usize) -> Result<Cow<'_, [u8]>, RequestFault> {
        match self {
            Self::Identity if body.len() > bytes_max => Err(RequestFault::TooLarge { bytes_max }),
            Self::Identity => Ok(body.into()),
            Self::Gzip => read(MultiGzDecoder::new(body), "gzip", bytes_max),
            Self::Deflate => read(ZlibDecoder::new(body), "deflate", bytes_max),
            Self::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(body).map_err(|_| RequestFault::NotEncoded("zstd"))?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|_| RequestFault::NotEncoded("zstd"))?;
                read(decoder, "zstd", bytes_max)
            }
            Self::Snappy => {
                const FAULT: RequestFault = RequestFault::NotEncoded("snappy");
                // The length stands in front, so nothing is allocated for a body that only claims to be large.
                let declared = snap::raw::decompress_len(body).map_err(|_| FAULT)?;
                if declared > bytes_max {
                    return Err(RequestFault::TooLarge { bytes_max });
                }
                snap::raw::Decoder::new().decompress_vec(body).map(Cow::from).map_err(|_| FAULT)
            }
        }
    }
}

fn read<'a>(decoder: impl Read, format: &'static str, bytes_max: usize) -> Result<Cow<'a, [u8]>, RequestFault> {
    let mut contents = Vec::new();
    decoder.take(bytes_max as u64 + 1).read_to_end(&mut contents).map_err(|_| RequestFault::NotEncoded(format))?;
    if contents.len() > bytes_max {
        return Err(RequestFault::TooLarge { bytes_max });
    }
    Ok(contents.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn packed(contents: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(contents).expect("memory takes it");
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(contents).expect("memory takes it");
        vec![
            ("identity", contents.to_vec()),
            ("GZIP", gzip.finish().expect("memory takes it")),
            ("deflate", zlib.finish().expect("memory takes it")),
            ("zstd", zstd::encode_all(contents, 1).expect("memory takes it")),
            ("snappy", snap::raw::Encoder::new().compress_vec(contents).expect("short enough")),
        ]
    }

    #[test]
    fn each_encoding_gives_the_contents_up_to_the_bound() {
        let contents = b"resource ".repeat(1_000);
        for (name, body) in packed(&contents) {
            let encoding = Encoding::named(name).expect("known");
            assert_eq!(encoding.unpack(&body, contents.len()).as_deref(), Ok(&contents[..]), "{name}");
            let bytes_max = contents.len() - 1;
            assert_eq!(encoding.unpack(&body, bytes_max), Err(RequestFault::TooLarge { bytes_max }), "{name}");
        }
    }

    #[test]
    fn what_is_damaged_is_refused() {
        for (name, body) in packed(&b"resource ".repeat(1_000)).split_off(1) {
            let encoding = Encoding::named(name).expect("known");
            let cut = encoding.unpack(&body[..body.len() - 5], usize::MAX >> 1);
            assert!(matches!(cut, Err(RequestFault::NotEncoded(_))), "{name}");
            assert!(encoding.unpack(b"resource", 100).is_err(), "{name}");
        }
    }

    #[test]
    fn an_unknown_encoding_is_named() {
        assert_eq!(Encoding::named("br"), Err(RequestFault::UnknownEncoding("br".into())));
    }
}
