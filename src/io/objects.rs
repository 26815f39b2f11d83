//! The traits for what the kernel reads and writes. Everything is the type's own, so nothing is lost when it is dropped.

use std::future::Future;
use std::io;
use std::net::Shutdown;

use super::{Read, Split, Stderr, Stdin, Stdout, Write};
use crate::buf::{BufResult, IoBuf, IoBufMut, IoVecBuf, IoVecBufMut};
use crate::fs::File;
use crate::net::{self, StreamSocket, TcpStream, UnixStream};
use crate::pipe;
use crate::process::{ChildStderr, ChildStdin, ChildStdout};

/// The type whose methods are meant: its own, or those of what it derefs to.
macro_rules! own {
    ($type:ty) => {
        $type
    };
    ($type:ty, $inner:ty) => {
        $inner
    };
}

macro_rules! reads {
    ($([$($generic:tt)*] $type:ty $(as $inner:ty)?;)*) => {$(
        impl<$($generic)*> Read for $type {
            fn read<B: IoBufMut + Send>(&mut self, buf: B) -> impl Future<Output = BufResult<usize, B>> + Send {
                <own!($type $(, $inner)?)>::read(self, buf)
            }

            fn read_append<B: IoBufMut + Send>(&mut self, buf: B) -> impl Future<Output = BufResult<usize, B>> + Send {
                <own!($type $(, $inner)?)>::read_append(self, buf)
            }

            fn read_exact<B: IoBufMut + Send>(
                &mut self,
                buf: B,
                len: usize,
            ) -> impl Future<Output = BufResult<usize, B>> + Send {
                <own!($type $(, $inner)?)>::read_exact(self, buf, len)
            }

            fn read_vectored<V: IoVecBufMut + Send>(
                &mut self,
                bufs: V,
            ) -> impl Future<Output = BufResult<usize, V>> + Send {
                <own!($type $(, $inner)?)>::read_vectored(self, bufs)
            }

            fn read_to_end(&mut self, buf: Vec<u8>) -> impl Future<Output = BufResult<usize, Vec<u8>>> + Send {
                <own!($type $(, $inner)?)>::read_to_end(self, buf)
            }
        }
    )*};
}

macro_rules! writes {
    ($([$($generic:tt)*] $type:ty $(as $inner:ty)?: $this:ident => $shutdown:expr;)*) => {$(
        impl<$($generic)*> Write for $type {
            fn write<B: IoBuf + Send>(&mut self, buf: B) -> impl Future<Output = BufResult<usize, B>> + Send {
                <own!($type $(, $inner)?)>::write(self, buf)
            }

            fn write_all<B: IoBuf + Send>(&mut self, buf: B) -> impl Future<Output = BufResult<(), B>> + Send {
                <own!($type $(, $inner)?)>::write_all(self, buf)
            }

            fn write_vectored<V: IoVecBuf + Send>(
                &mut self,
                bufs: V,
            ) -> impl Future<Output = BufResult<usize, V>> + Send {
                <own!($type $(, $inner)?)>::write_vectored(self, bufs)
            }

            fn shutdown(&mut self) -> impl Future<Output = io::Result<()>> + Send {
                let $this = self;
                $shutdown
            }

            fn take_dropped_write(&mut self) -> impl Future<Output = Option<io::Result<usize>>> + Send {
                <own!($type $(, $inner)?)>::take_dropped_write(self)
            }
        }
    )*};
}

reads! {
    [] File;
    [] Stdin;
    [] pipe::Receiver;
    [] ChildStdout as pipe::Receiver;
    [] ChildStderr as pipe::Receiver;
    [] TcpStream;
    [] UnixStream;
    [S: StreamSocket] net::ReadHalf<'_, S>;
    [S: StreamSocket] net::OwnedReadHalf<S>;
}

writes! {
    // A file has no other side, and that of a pipe sees the end when the last sender is dropped.
    [] File: _this => std::future::ready(Ok(()));
    [] Stdout: _this => std::future::ready(Ok(()));
    [] Stderr: _this => std::future::ready(Ok(()));
    [] pipe::Sender: _this => std::future::ready(Ok(()));
    [] ChildStdin as pipe::Sender: _this => std::future::ready(Ok(()));
    [] TcpStream: this => TcpStream::shutdown(this, Shutdown::Write);
    [] UnixStream: this => UnixStream::shutdown(this, Shutdown::Write);
    [S: StreamSocket] net::WriteHalf<'_, S>: this => net::WriteHalf::shutdown(this);
    [S: StreamSocket] net::OwnedWriteHalf<S>: this => net::OwnedWriteHalf::shutdown(this);
}

impl Split for TcpStream {
    type Reader<'a> = net::ReadHalf<'a>;
    type Writer<'a> = net::WriteHalf<'a>;

    fn split(&mut self) -> (net::ReadHalf<'_>, net::WriteHalf<'_>) {
        TcpStream::split(self)
    }
}

impl Split for UnixStream {
    type Reader<'a> = net::ReadHalf<'a, UnixStream>;
    type Writer<'a> = net::WriteHalf<'a, UnixStream>;

    fn split(&mut self) -> (net::ReadHalf<'_, UnixStream>, net::WriteHalf<'_, UnixStream>) {
        UnixStream::split(self)
    }
}
