//! The bytes of a connection: in plain text or TLS, observed for
//! [`client_connections`](super::client_connections).

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{dev::Extensions, rt::net::TcpStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::{cancellation::Client, client_connections::OpenConnection};

/// The connection of a client, from which actix-http reads requests.
pub struct ClientStream {
    transport: Transport,
    connection: OpenConnection,
}

/// How the bytes come.
pub enum Transport {
    /// As they are.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    fn duplex(&mut self) -> Pin<&mut dyn Duplex> {
        match self {
            Self::Plain(stream) => Pin::new(stream),
            Self::Tls(stream) => Pin::new(&mut **stream),
        }
    }
}

/// A stream in both directions.
trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<Stream: AsyncRead + AsyncWrite + Unpin> Duplex for Stream {}

impl ClientStream {
    /// Returns the stream of a connection that is ready for its first request.
    pub fn new(transport: Transport, connection: OpenConnection) -> Self {
        connection.expect_head();
        Self { transport, connection }
    }

    /// Stores the connection for its requests.
    pub fn remember(&self, extensions: &mut Extensions) {
        extensions.insert(self.connection.handle());
        Client::remember(self.transport.tcp(), extensions);
    }
}

impl AsyncRead for ClientStream {
    /// Reads what the client sent. When the worker has ended the connection, reports the end of
    /// the data, so that actix-http closes the connection in the usual way.
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        match this.transport.duplex().poll_read(context, buffer) {
            Poll::Ready(Ok(())) => {
                if buffer.filled().len() > before && !this.connection.receive() {
                    buffer.set_filled(before);
                }
                Poll::Ready(Ok(()))
            }
            Poll::Pending => this.connection.poll_end(context).map(Ok),
            failed => failed,
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = this.transport.duplex().poll_write(context, bytes);
        if written.is_pending() {
            this.connection.set_sending(true);
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = this.transport.duplex().poll_flush(context);
        this.connection.set_sending(flushed.is_pending());
        flushed
    }

    /// Tells the client that nothing follows. A connection that the worker has ended does not
    /// wait until the client takes this.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this.transport.duplex().poll_shutdown(context) {
            Poll::Pending if this.connection.is_ended() => Poll::Ready(Ok(())),
            polled => polled,
        }
    }
}
