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

/// The transport of a connection.
pub enum Transport {
    /// TCP without encryption.
    Plain(TcpStream),
    /// TLS.
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

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, io::Write, net::TcpListener, rc::Rc};

    use super::*;
    use crate::{
        config::Settings,
        server::client_connections::{ClientConnections, Limits},
    };

    /// A worker that is full with three connections.
    fn worker() -> Rc<ClientConnections> {
        let mut settings = Settings::load(None).expect("the defaults").server;
        settings.max_connections = 3;
        ClientConnections::start(Limits::new(&settings, 1))
    }

    /// A client, and its connection to the worker.
    fn connect(connections: &Rc<ClientConnections>) -> (std::net::TcpStream, ClientStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let client = std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("it listens");
        let (accepted, _) = listener.accept().expect("a client");
        accepted.set_nonblocking(true).expect("a socket");
        let accepted = TcpStream::from_std(accepted).expect("a socket");
        let connection = connections.register(None).expect("room");
        (client, ClientStream::new(Transport::Plain(accepted), connection))
    }

    async fn read(stream: &mut ClientStream) -> Vec<u8> {
        let mut bytes = [0; 100];
        let mut buffer = ReadBuf::new(&mut bytes);
        poll_fn(|context| Pin::new(&mut *stream).poll_read(context, &mut buffer)).await.expect("no error");
        buffer.filled().to_vec()
    }

    #[actix_web::test]
    async fn a_connection_whose_answer_is_on_its_way_is_not_idle() {
        let connections = worker();
        let (_client, mut sending) = connect(&connections);
        poll_fn(|context| {
            while Pin::new(&mut sending).poll_write(context, &[0; 65536]).is_ready() {}
            Poll::Ready(())
        })
        .await;
        let others = [connect(&connections).1, connect(&connections).1];
        let ended = [&sending, &others[0], &others[1]].map(|stream| stream.connection.is_ended());
        assert_eq!(ended, [false, true, false]);
    }

    #[actix_web::test]
    async fn an_idle_connection_ends_unless_the_client_has_sent_something() {
        let connections = worker();
        let (mut client, mut active) = connect(&connections);
        let (_silent_client, mut silent) = connect(&connections);
        let _newest = connect(&connections);
        assert!(active.connection.is_ended());
        client.write_all(b"GET").expect("sent");
        active.transport.tcp().readable().await.expect("a socket");
        assert_eq!(read(&mut active).await, b"GET");
        assert!(!active.connection.is_ended());

        drop(active);
        let _newer = connect(&connections);
        assert!(silent.connection.is_ended());
        assert_eq!(read(&mut silent).await, b"", "the end of the data");
    }
}
