//! The two directions of a stream, each on its own.

use std::error::Error;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::sync::Arc;

use super::{TcpStream, socket, try_now};
use crate::buf::{IoBuf, IoBufMut, IoVecBuf, IoVecBufMut};
use crate::fd::{Fd, HasFd};
use crate::op::{self, All, Operation, PollAdd, ReadToEnd, Readv, Receive, Receiving, Recv, Send, Writev};
use crate::sys::{self, Address};

/// A stream that can be split: [`TcpStream`] and [`UnixStream`](super::UnixStream).
pub trait StreamSocket: HasFd + fmt::Debug {
    /// What its addresses are.
    type Address: Address;
}

/// Reads from a stream; made by [`TcpStream::split`] and [`UnixStream::split`](super::UnixStream::split).
#[derive(Debug)]
pub struct ReadHalf<'a, S = TcpStream>(&'a S);

/// Writes to a stream; made by [`TcpStream::split`] and [`UnixStream::split`](super::UnixStream::split).
#[derive(Debug)]
pub struct WriteHalf<'a, S = TcpStream>(&'a S);

/// Reads from a stream; made by [`TcpStream::into_split`] and [`UnixStream::into_split`](super::UnixStream::into_split).
#[derive(Debug)]
pub struct OwnedReadHalf<S: StreamSocket = TcpStream>(Arc<S>);

/// Writes to a stream; made by [`TcpStream::into_split`] and [`UnixStream::into_split`](super::UnixStream::into_split).
/// Dropping it ends the direction: the peer reads to the end.
#[derive(Debug)]
pub struct OwnedWriteHalf<S: StreamSocket = TcpStream> {
    stream: Arc<S>,
    shutdown_on_drop: bool,
}

pub(super) fn borrowed<S: StreamSocket>(stream: &mut S) -> (ReadHalf<'_, S>, WriteHalf<'_, S>) {
    (ReadHalf(stream), WriteHalf(stream))
}

pub(super) fn owned<S: StreamSocket>(stream: S) -> (OwnedReadHalf<S>, OwnedWriteHalf<S>) {
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
                socket::recv(self.0.ring_fd(), buf)
            }

            /// As [`TcpStream::read_append`].
            ///
            /// # Errors
            /// As there.
            pub fn read_append<B: IoBufMut>(&mut self, buf: B) -> Operation<'_, Recv<B>> {
                socket::recv_append(self.0.ring_fd(), buf)
            }

            /// As [`TcpStream::read_exact`].
            ///
            /// # Errors
            /// As there.
            pub fn read_exact<B: IoBufMut>(&mut self, buf: B, len: usize) -> Operation<'_, Recv<B>> {
                socket::recv_exact(self.0.ring_fd(), buf, len)
            }

            /// As [`TcpStream::read_to_end`].
            ///
            /// # Errors
            /// As there.
            pub fn read_to_end(&mut self, buf: Vec<u8>) -> Operation<'_, ReadToEnd> {
                socket::recv_to_end(self.0.ring_fd(), buf)
            }

            /// As [`TcpStream::read_vectored`].
            ///
            /// # Errors
            /// As there.
            pub fn read_vectored<V: IoVecBufMut>(&mut self, bufs: V) -> Operation<'_, Readv<V>> {
                socket::recv_vectored(self.0.ring_fd(), bufs)
            }

            /// As [`TcpStream::recv`].
            ///
            /// # Errors
            /// As there.
            pub fn recv(&mut self) -> Receive<'_> {
                socket::recv_lease(self.0.ring_fd())
            }

            /// As [`TcpStream::recv_stream`].
            pub fn recv_stream(&mut self) -> Receiving<'_> {
                socket::recv_stream(self.0.ring_fd())
            }

            /// As [`TcpStream::peek`].
            ///
            /// # Errors
            /// As there.
            pub fn peek<B: IoBufMut>(&mut self, buf: B) -> Operation<'_, Recv<B>> {
                socket::peek(self.0.ring_fd(), buf)
            }

            /// As [`TcpStream::try_read`].
            ///
            /// # Errors
            /// As there.
            pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
                self.try_read_vectored(&mut [IoSliceMut::new(buf)])
            }

            /// As [`TcpStream::try_read_vectored`].
            ///
            /// # Errors
            /// As there.
            pub fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                try_now::read(self.0.ring_fd(), bufs, false)
            }

            /// As [`TcpStream::readable`].
            ///
            /// # Errors
            /// As there.
            pub fn readable(&self) -> Operation<'_, PollAdd> {
                socket::readable(self.0.ring_fd())
            }

            /// As [`TcpStream::local_addr`].
            ///
            /// # Errors
            /// As there.
            pub fn local_addr(&self) -> io::Result<S::Address> {
                sys::local_address(self.0.ring_fd().raw())
            }

            /// As [`TcpStream::peer_addr`].
            ///
            /// # Errors
            /// As there.
            pub fn peer_addr(&self) -> io::Result<S::Address> {
                sys::peer_address(self.0.ring_fd().raw())
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
                socket::send(self.$field.ring_fd(), buf)
            }

            /// As [`TcpStream::write_all`].
            ///
            /// # Errors
            /// As there.
            pub fn write_all<B: IoBuf>(&mut self, buf: B) -> Operation<'_, All<Send<B>>> {
                socket::send_all(self.$field.ring_fd(), buf)
            }

            /// As [`TcpStream::write_vectored`].
            ///
            /// # Errors
            /// As there.
            pub fn write_vectored<V: IoVecBuf>(&mut self, bufs: V) -> Operation<'_, Writev<V>> {
                socket::send_vectored(self.$field.ring_fd(), bufs)
            }

            /// As [`TcpStream::try_write`].
            ///
            /// # Errors
            /// As there.
            pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
                self.try_write_vectored(&[IoSlice::new(buf)])
            }

            /// As [`TcpStream::try_write_vectored`].
            ///
            /// # Errors
            /// As there.
            pub fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                try_now::write(self.$field.ring_fd(), bufs, None)
            }

            /// As [`TcpStream::writable`].
            ///
            /// # Errors
            /// As there.
            pub fn writable(&self) -> Operation<'_, PollAdd> {
                socket::writable(self.$field.ring_fd())
            }

            /// Ends this direction: `shutdown(2)` with `SHUT_WR`, after writes that were dropped.
            ///
            /// # Errors
            /// As [`TcpStream::shutdown`].
            pub fn shutdown(&mut self) -> Operation<'_, op::Shutdown> {
                socket::shutdown_stream(self.$field.ring_fd(), Shutdown::Write)
            }

            /// As [`TcpStream::take_dropped_write`].
            pub async fn take_dropped_write(&mut self) -> Option<io::Result<usize>> {
                self.$field.ring_fd().take_dropped_write().await
            }

            /// As [`TcpStream::local_addr`].
            ///
            /// # Errors
            /// As there.
            pub fn local_addr(&self) -> io::Result<S::Address> {
                sys::local_address(self.$field.ring_fd().raw())
            }

            /// As [`TcpStream::peer_addr`].
            ///
            /// # Errors
            /// As there.
            pub fn peer_addr(&self) -> io::Result<S::Address> {
                sys::peer_address(self.$field.ring_fd().raw())
            }
        }
    };
}

read_half!(impl<S: StreamSocket> ReadHalf<'_, S>);
read_half!(impl<S: StreamSocket> OwnedReadHalf<S>);
write_half!(0; impl<S: StreamSocket> WriteHalf<'_, S>);
write_half!(stream; impl<S: StreamSocket> OwnedWriteHalf<S>);

macro_rules! as_stream {
    ($half:ty, $field:tt) => {
        /// For what needs no direction: options, addresses, `peek`.
        impl<S: StreamSocket> AsRef<S> for $half {
            fn as_ref(&self) -> &S {
                &self.$field
            }
        }
    };
}

as_stream!(ReadHalf<'_, S>, 0);
as_stream!(WriteHalf<'_, S>, 0);
as_stream!(OwnedReadHalf<S>, 0);
as_stream!(OwnedWriteHalf<S>, stream);

impl<S: StreamSocket> HasFd for OwnedReadHalf<S> {
    fn ring_fd(&self) -> &Fd {
        self.0.ring_fd()
    }
}

impl<S: StreamSocket> HasFd for OwnedWriteHalf<S> {
    fn ring_fd(&self) -> &Fd {
        self.stream.ring_fd()
    }
}

impl<S: StreamSocket> OwnedReadHalf<S> {
    /// The stream again.
    ///
    /// # Errors
    /// With both halves, if they are of different streams.
    pub fn reunite(self, write: OwnedWriteHalf<S>) -> Result<S, ReuniteError<S>> {
        if !Arc::ptr_eq(&self.0, &write.stream) {
            return Err(ReuniteError(self, write));
        }
        write.forget();
        Ok(Arc::into_inner(self.0).expect("there are two halves, and here they are"))
    }
}

impl<S: StreamSocket> OwnedWriteHalf<S> {
    /// The stream again.
    ///
    /// # Errors
    /// With both halves, if they are of different streams.
    pub fn reunite(self, read: OwnedReadHalf<S>) -> Result<S, ReuniteError<S>> {
        read.reunite(self)
    }

    /// Drops the half without ending its direction.
    pub fn forget(mut self) {
        self.shutdown_on_drop = false;
    }
}

impl<S: StreamSocket> Drop for OwnedWriteHalf<S> {
    fn drop(&mut self) {
        if self.shutdown_on_drop {
            self.stream.ring_fd().shutdown_write();
        }
    }
}

/// Halves of different streams do not make one.
#[derive(Debug)]
pub struct ReuniteError<S: StreamSocket = TcpStream>(pub OwnedReadHalf<S>, pub OwnedWriteHalf<S>);

impl<S: StreamSocket> fmt::Display for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tried to reunite halves that are not from the same stream")
    }
}

impl<S: StreamSocket> Error for ReuniteError<S> {}
