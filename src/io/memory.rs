//! Readers and writers without a kernel: slices and vectors, nothing, the same byte for ever.

use std::future::{Future, ready};
use std::io;

use super::read::no_capacity;
use super::{Read, Write};
use crate::buf::{BufResult, IoBuf, IoBufMut, IoBufMutExt, fill_with};

/// Reads from the slice's start, which moves on.
impl Read for &[u8] {
    fn read<B: IoBufMut + Send>(&mut self, mut buf: B) -> impl Future<Output = BufResult<usize, B>> + Send {
        if buf.buf_capacity() == 0 {
            return ready((Err(no_capacity()), buf));
        }
        let count = buf.fill_from(self);
        *self = &self[count..];
        ready((Ok(count), buf))
    }
}

/// Appends.
impl Write for Vec<u8> {
    fn write<B: IoBuf + Send>(&mut self, buf: B) -> impl Future<Output = BufResult<usize, B>> + Send {
        if self.try_reserve(buf.buf_len()).is_err() {
            return ready((Err(io::ErrorKind::OutOfMemory.into()), buf));
        }
        self.extend_from_slice(buf.buf_slice());
        ready((Ok(buf.buf_len()), buf))
    }

    fn shutdown(&mut self) -> impl Future<Output = io::Result<()>> + Send {
        ready(Ok(()))
    }
}

/// Made by [`empty`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Empty(());

/// A reader that is at its end, and a writer that takes everything and keeps nothing.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::io::{self, Read};
/// assert_eq!(io::empty().read(vec![0; 8]).await.0.unwrap(), 0);
/// # })
/// ```
pub fn empty() -> Empty {
    Empty(())
}

impl Read for Empty {
    fn read<B: IoBufMut + Send>(&mut self, mut buf: B) -> impl Future<Output = BufResult<usize, B>> + Send {
        if buf.buf_capacity() == 0 {
            return ready((Err(no_capacity()), buf));
        }
        buf.fill_from(&[]);
        ready((Ok(0), buf))
    }
}

/// Made by [`sink`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Sink(());

/// A writer that takes everything and keeps nothing.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::io;
/// assert_eq!(io::copy(&mut &b"gone"[..], &mut io::sink()).await.unwrap(), 4);
/// # })
/// ```
pub fn sink() -> Sink {
    Sink(())
}

macro_rules! takes_everything {
    ($($type:ty),*) => {$(
        impl Write for $type {
            fn write<B: IoBuf + Send>(&mut self, buf: B) -> impl Future<Output = BufResult<usize, B>> + Send {
                ready((Ok(buf.buf_len()), buf))
            }

            fn shutdown(&mut self) -> impl Future<Output = io::Result<()>> + Send {
                ready(Ok(()))
            }
        }
    )*};
}

takes_everything!(Empty, Sink);

/// Made by [`repeat`].
#[derive(Clone, Copy, Debug)]
pub struct Repeat(u8);

/// A reader of one byte, over and over.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::io::{self, Read};
/// assert_eq!(io::repeat(7).read_exact(Vec::with_capacity(3), 3).await.1, [7, 7, 7]);
/// # })
/// ```
pub fn repeat(byte: u8) -> Repeat {
    Repeat(byte)
}

impl Read for Repeat {
    fn read<B: IoBufMut + Send>(&mut self, mut buf: B) -> impl Future<Output = BufResult<usize, B>> + Send {
        match fill_with(&mut buf, self.0) {
            0 => ready((Err(no_capacity()), buf)),
            count => ready((Ok(count), buf)),
        }
    }

    /// There is no end: it would go on until there is no memory left.
    fn read_to_end(&mut self, buf: Vec<u8>) -> impl Future<Output = BufResult<usize, Vec<u8>>> + Send {
        ready((Err(io::ErrorKind::OutOfMemory.into()), buf))
    }
}
