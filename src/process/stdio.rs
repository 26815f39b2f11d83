//! What a child reads and writes, as seen from here: ends of pipes.

use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::process::Stdio;

use crate::fd::{Fd, HasFd};
use crate::pipe;

macro_rules! ends {
    ($($(#[$doc:meta])* $name:ident($end:ident);)*) => {$(
        $(#[$doc])*
        pub struct $name {
            pipe: pipe::$end,
        }

        impl $name {
            /// Takes it from std.
            ///
            /// # Errors
            /// None; the signature is tokio's.
            pub fn from_std(inner: std::process::$name) -> io::Result<$name> {
                Ok($name { pipe: pipe::$end::from_file_unchecked(OwnedFd::from(inner).into()) })
            }

            /// Gives the descriptor away. Operations that were dropped are ended first.
            ///
            /// # Errors
            /// As the conversion of the pipe's end to std: if dropped reads have received bytes that would be lost, or dropped
            /// operations are in flight on another loop. It is closed then; to keep it, convert the pipe itself.
            pub fn into_owned_fd(self) -> io::Result<OwnedFd> {
                Ok(self.pipe.into_std()?.into())
            }

            /// Closes it: `IORING_OP_CLOSE`, `close(2)`. Dropped early, it closes all the same; so does dropping it, without
            /// telling errors.
            ///
            /// # Errors
            /// Those of the call. It is closed in any case.
            pub async fn close(self) -> io::Result<()> {
                self.pipe.close().await
            }
        }

        impl Deref for $name {
            type Target = pipe::$end;

            fn deref(&self) -> &pipe::$end {
                &self.pipe
            }
        }

        impl DerefMut for $name {
            fn deref_mut(&mut self) -> &mut pipe::$end {
                &mut self.pipe
            }
        }

        impl From<$name> for pipe::$end {
            fn from(end: $name) -> pipe::$end {
                end.pipe
            }
        }

        /// For the standard streams of another child.
        impl TryFrom<$name> for Stdio {
            type Error = io::Error;

            /// # Errors
            /// As `into_owned_fd`.
            fn try_from(end: $name) -> io::Result<Stdio> {
                end.into_owned_fd().map(Stdio::from)
            }
        }

        /// For calls that this crate does not wrap; they are not ordered with its operations.
        impl AsFd for $name {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.pipe.as_fd()
            }
        }

        /// As for [`AsFd`]; the number is valid as long as the object lives.
        impl AsRawFd for $name {
            fn as_raw_fd(&self) -> RawFd {
                self.pipe.as_raw_fd()
            }
        }

        impl HasFd for $name {
            fn ring_fd(&self) -> &Fd {
                self.pipe.ring_fd()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field("fd", &self.pipe.as_raw_fd()).finish()
            }
        }
    )*};
}

ends! {
    /// What a child reads from: the [`pipe::Sender`] that this derefs to. The child meets the end when it is dropped.
    ChildStdin(Sender);
    /// What a child writes to: the [`pipe::Receiver`] that this derefs to.
    ChildStdout(Receiver);
    /// What a child tells its errors to: the [`pipe::Receiver`] that this derefs to.
    ChildStderr(Receiver);
}

/// So that a child reads from a pipe, or writes to one.
macro_rules! pipes {
    ($($end:ident)*) => {$(
        impl TryFrom<pipe::$end> for Stdio {
            type Error = io::Error;

            /// # Errors
            /// As the conversion to std.
            fn try_from(end: pipe::$end) -> io::Result<Stdio> {
                Ok(OwnedFd::from(end.into_std()?).into())
            }
        }
    )*};
}

pipes! { Sender Receiver }
