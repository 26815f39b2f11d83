//! Two directions of one thing, and two things as one.

use std::future::Future;
use std::io;

use super::{Read, Write};
use crate::buf::{BufResult, IoBuf, IoBufMut, IoVecBuf, IoVecBufMut};

/// What has two directions that can be used at the same time, for code that works with any such thing:
/// [`copy_bidirectional`](super::copy_bidirectional). Reads and writes borrow mutably while they are awaited, so each
/// direction needs a half for itself.
pub trait Split: Send {
    /// The half that reads.
    type Reader<'a>: Read
    where
        Self: 'a;
    /// The half that writes.
    type Writer<'a>: Write
    where
        Self: 'a;

    /// Two halves that borrow the whole.
    fn split(&mut self) -> (Self::Reader<'_>, Self::Writer<'_>);
}

impl<T: Split + ?Sized> Split for &mut T {
    type Reader<'a>
        = T::Reader<'a>
    where
        Self: 'a;
    type Writer<'a>
        = T::Writer<'a>
    where
        Self: 'a;

    fn split(&mut self) -> (T::Reader<'_>, T::Writer<'_>) {
        (**self).split()
    }
}

/// A reader and a writer as one, made by [`join`].
#[derive(Clone, Debug)]
pub struct Join<R, W> {
    reader: R,
    writer: W,
}

/// Makes one thing of a reader and a writer, to be read from and written to.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::io::{self, Read, Write};
/// let mut both = io::join(&b"in"[..], Vec::new());
/// assert_eq!(both.read_to_end(Vec::new()).await.1, b"in");
/// both.write_all("out").await.0?;
/// assert_eq!(both.into_inner().1, b"out");
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
pub fn join<R: Read, W: Write>(reader: R, writer: W) -> Join<R, W> {
    Join { reader, writer }
}

impl<R, W> Join<R, W> {
    /// The two again.
    pub fn into_inner(self) -> (R, W) {
        (self.reader, self.writer)
    }

    /// The reader.
    pub fn reader(&self) -> &R {
        &self.reader
    }

    /// The writer.
    pub fn writer(&self) -> &W {
        &self.writer
    }

    /// The reader, for changing.
    pub fn reader_mut(&mut self) -> &mut R {
        &mut self.reader
    }

    /// The writer, for changing.
    pub fn writer_mut(&mut self) -> &mut W {
        &mut self.writer
    }
}

impl<R: Read, W: Write> Split for Join<R, W> {
    type Reader<'a>
        = &'a mut R
    where
        Self: 'a;
    type Writer<'a>
        = &'a mut W
    where
        Self: 'a;

    fn split(&mut self) -> (&mut R, &mut W) {
        (&mut self.reader, &mut self.writer)
    }
}

impl<R: Read, W: Send> Read for Join<R, W> {
    forward_read!(reader);
}

impl<R: Send, W: Write> Write for Join<R, W> {
    forward_write!(writer);
}
