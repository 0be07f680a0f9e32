//! Large documents about the service, which are read rarely: generated when a client first reads
//! them, and kept compressed.
//!
//! A document is never in memory as a whole, neither when it is generated nor when it is sent,
//! except in the answer to a batch. The worker that serves the request generates it. A thread for
//! this would cost memory, because the allocator keeps the memory of a thread that has ended.

use std::{
    io::{self, Read, Write},
    iter,
};

use actix_web::{
    HttpRequest, HttpResponse,
    body::SizedStream,
    http::header::{AcceptEncoding, ContentEncoding, Encoding, Header, VARY},
    web::Bytes,
};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use futures_util::stream;
use tokio::sync::OnceCell;

use crate::error::ApiError;

/// A document that is generated once.
#[derive(Default)]
pub struct LargeDocument(OnceCell<Compressed>);

#[derive(Clone)]
struct Compressed {
    gzip: Bytes,
    /// The length of the document in bytes.
    length: u64,
}

impl LargeDocument {
    /// Creates a document that is not generated yet.
    pub const fn new() -> Self {
        Self(OnceCell::const_new())
    }

    /// Returns the answer with the document, compressed if the client accepts that. `write`
    /// writes the document.
    ///
    /// # Errors
    /// 500 when the document cannot be generated.
    pub async fn answer(
        &self,
        request: &HttpRequest,
        content_type: &'static str,
        write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
    ) -> Result<HttpResponse, ApiError> {
        let document = self.0.get_or_try_init(|| async { compress(write) }).await.map_err(ApiError::internal)?.clone();
        let mut response = HttpResponse::Ok();
        response.content_type(content_type).insert_header((VARY, "accept-encoding"));
        Ok(match accepts_gzip(request) {
            true => response.insert_header(ContentEncoding::Gzip).body(document.gzip),
            false => response.body(SizedStream::new(document.length, stream::iter(parts(document.gzip)))),
        })
    }
}

fn compress(write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>) -> anyhow::Result<Compressed> {
    let mut encoder = Counter { inner: GzEncoder::new(Vec::new(), Compression::default()), written: 0 };
    write(&mut encoder)?;
    let mut gzip = encoder.inner.finish()?;
    gzip.shrink_to_fit();
    Ok(Compressed { gzip: gzip.into(), length: encoder.written })
}

/// Counts the bytes that are written.
struct Counter<W> {
    inner: W,
    written: u64,
}

impl<W: Write> Write for Counter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The size in bytes of a part of a document that is sent uncompressed.
const PART: usize = 1 << 16;

fn parts(gzip: Bytes) -> impl Iterator<Item = io::Result<Bytes>> {
    let mut decoder = GzDecoder::new(io::Cursor::new(gzip));
    iter::from_fn(move || {
        let mut part = vec![0; PART];
        match decoder.read(&mut part) {
            Ok(0) => None,
            Ok(length) => {
                part.truncate(length);
                Some(Ok(part.into()))
            }
            Err(error) => Some(Err(error)),
        }
    })
}

fn accepts_gzip(request: &HttpRequest) -> bool {
    let accepted = AcceptEncoding::parse(request).ok();
    let chosen = accepted.as_ref().and_then(|of| of.negotiate([Encoding::gzip(), Encoding::identity()].iter()));
    chosen == Some(Encoding::gzip())
}
