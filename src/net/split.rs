//! The two directions of a stream, each on its own.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;

use super::TcpStream;
use crate::buf::{IoBuf, IoBufMut, IoVecBuf, IoVecBufMut};
use crate::op::{self, All, Operation, PollAdd, ReadToEnd, Readv, Receive, Receiving, Recv, Send, Writev};

/// Made by [`TcpStream::split`].
#[derive(Debug)]
pub struct ReadHalf<'a>(&'a TcpStream);

/// Made by [`TcpStream::split`].
#[derive(Debug)]
pub struct WriteHalf<'a>(&'a TcpStream);

/// Made by [`TcpStream::into_split`].
#[derive(Debug)]
pub struct OwnedReadHalf(Arc<TcpStream>);

/// Made by [`TcpStream::into_split`]. Dropping it ends the direction: the peer reads to the end.
#[derive(Debug)]
pub struct OwnedWriteHalf {
    stream: Arc<TcpStream>,
    shutdown_on_drop: bool,
}

pub(super) fn borrowed(stream: &mut TcpStream) -> (ReadHalf<'_>, WriteHalf<'_>) {
    (ReadHalf(stream), WriteHalf(stream))
}

pub(super) fn owned(stream: TcpStream) -> (OwnedReadHalf, OwnedWriteHalf) {
    let stream = Arc::new(stream);
    (OwnedReadHalf(stream.clone()), OwnedWriteHalf { stream, shutdown_on_drop: true })
}

/// What both kinds of halves do, in the words of the stream.
macro_rules! read_half {
    ($($head:tt)*) => {
        $($head)* {
            /// As [`TcpStream::read`].
            ///
            /// # Errors
            /// As there.
            pub fn read<B: IoBufMut>(&mut self, buf: B) -> Operation<'_, Recv<B>> {
                self.0.recv_some(buf)
            }

            /// As [`TcpStream::read_append`].
            ///
            /// # Errors
            /// As there.
            pub fn read_append<B: IoBufMut>(&mut self, buf: B) -> Operation<'_, Recv<B>> {
                self.0.recv_append(buf)
            }

            /// As [`TcpStream::read_exact`].
            ///
            /// # Errors
            /// As there.
            pub fn read_exact<B: IoBufMut>(&mut self, buf: B, len: usize) -> Operation<'_, Recv<B>> {
                self.0.recv_exact(buf, len)
            }

            /// As [`TcpStream::read_to_end`].
            ///
            /// # Errors
            /// As there.
            pub fn read_to_end(&mut self, buf: Vec<u8>) -> Operation<'_, ReadToEnd> {
                self.0.recv_to_end(buf)
            }

            /// As [`TcpStream::read_vectored`].
            ///
            /// # Errors
            /// As there.
            pub fn read_vectored<V: IoVecBufMut>(&mut self, bufs: V) -> Operation<'_, Readv<V>> {
                self.0.recv_vectored(bufs)
            }

            /// As [`TcpStream::recv`].
            ///
            /// # Errors
            /// As there.
            pub fn recv(&mut self) -> Receive<'_> {
                Receive::new(&self.0.fd)
            }

            /// As [`TcpStream::recv_stream`].
            pub fn recv_stream(&mut self) -> Receiving<'_> {
                Receiving::new(&self.0.fd)
            }

            /// As [`TcpStream::peek`].
            ///
            /// # Errors
            /// As there.
            pub fn peek<B: IoBufMut>(&mut self, buf: B) -> Operation<'_, Recv<B>> {
                self.0.peek(buf)
            }

            /// As [`TcpStream::readable`].
            ///
            /// # Errors
            /// As there.
            pub fn readable(&self) -> Operation<'_, PollAdd> {
                self.0.readable()
            }

            /// As [`TcpStream::local_addr`].
            ///
            /// # Errors
            /// As there.
            pub fn local_addr(&self) -> io::Result<SocketAddr> {
                self.0.local_addr()
            }

            /// As [`TcpStream::peer_addr`].
            ///
            /// # Errors
            /// As there.
            pub fn peer_addr(&self) -> io::Result<SocketAddr> {
                self.0.peer_addr()
            }
        }
    };
}

macro_rules! write_half {
    ($field:tt; $($head:tt)*) => {
        $($head)* {
            /// As [`TcpStream::write`].
            ///
            /// # Errors
            /// As there.
            pub fn write<B: IoBuf>(&mut self, buf: B) -> Operation<'_, Send<B>> {
                self.$field.send(buf)
            }

            /// As [`TcpStream::write_all`].
            ///
            /// # Errors
            /// As there.
            pub fn write_all<B: IoBuf>(&mut self, buf: B) -> Operation<'_, All<Send<B>>> {
                self.$field.send_all(buf)
            }

            /// As [`TcpStream::write_vectored`].
            ///
            /// # Errors
            /// As there.
            pub fn write_vectored<V: IoVecBuf>(&mut self, bufs: V) -> Operation<'_, Writev<V>> {
                self.$field.send_vectored(bufs)
            }

            /// As [`TcpStream::writable`].
            ///
            /// # Errors
            /// As there.
            pub fn writable(&self) -> Operation<'_, PollAdd> {
                self.$field.writable()
            }

            /// Ends this direction: `shutdown(2)` with `SHUT_WR`, after writes that were dropped.
            ///
            /// # Errors
            /// As [`TcpStream::shutdown`].
            pub fn shutdown(&mut self) -> Operation<'_, op::Shutdown> {
                let fd = &self.$field.fd;
                Operation::on(fd, op::Shutdown::new(fd.raw(), Shutdown::Write))
            }

            /// As [`TcpStream::take_dropped_write`].
            pub async fn take_dropped_write(&mut self) -> Option<io::Result<usize>> {
                self.$field.fd.take_dropped_write().await
            }

            /// As [`TcpStream::local_addr`].
            ///
            /// # Errors
            /// As there.
            pub fn local_addr(&self) -> io::Result<SocketAddr> {
                self.$field.local_addr()
            }

            /// As [`TcpStream::peer_addr`].
            ///
            /// # Errors
            /// As there.
            pub fn peer_addr(&self) -> io::Result<SocketAddr> {
                self.$field.peer_addr()
            }
        }
    };
}

read_half!(impl ReadHalf<'_>);
read_half!(impl OwnedReadHalf);
write_half!(0; impl WriteHalf<'_>);
write_half!(stream; impl OwnedWriteHalf);

macro_rules! as_stream {
    ($half:ty, $field:tt) => {
        /// For what needs no direction: options, addresses, `peek`.
        impl AsRef<TcpStream> for $half {
            fn as_ref(&self) -> &TcpStream {
                &self.$field
            }
        }
    };
}

as_stream!(ReadHalf<'_>, 0);
as_stream!(WriteHalf<'_>, 0);
as_stream!(OwnedReadHalf, 0);
as_stream!(OwnedWriteHalf, stream);

impl OwnedReadHalf {
    /// The stream again.
    ///
    /// # Errors
    /// With both halves, if they are of different streams.
    pub fn reunite(self, write: OwnedWriteHalf) -> Result<TcpStream, ReuniteError> {
        if !Arc::ptr_eq(&self.0, &write.stream) {
            return Err(ReuniteError(self, write));
        }
        write.forget();
        Ok(Arc::into_inner(self.0).expect("there are two halves, and here they are"))
    }
}

impl OwnedWriteHalf {
    /// The stream again.
    ///
    /// # Errors
    /// With both halves, if they are of different streams.
    pub fn reunite(self, read: OwnedReadHalf) -> Result<TcpStream, ReuniteError> {
        read.reunite(self)
    }

    /// Drops the half without ending its direction.
    pub fn forget(mut self) {
        self.shutdown_on_drop = false;
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        if self.shutdown_on_drop {
            self.stream.fd.shutdown_write();
        }
    }
}

/// Halves of different streams do not make one.
#[derive(Debug)]
pub struct ReuniteError(pub OwnedReadHalf, pub OwnedWriteHalf);

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tried to reunite halves that are not from the same stream")
    }
}

impl Error for ReuniteError {}
