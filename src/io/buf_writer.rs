//! A writer with a buffer.

use std::future::Future;
use std::io::{self, SeekFrom};

use super::outbox::Outbox;
use super::{Read, Write};
use crate::buf::{BufResult, IoBuf, IoBufMut, IoVecBufMut};
use crate::fs::File;

/// Bytes that are gathered, unless told otherwise.
const CAPACITY: usize = 8 * 1024;

/// Gathers small writes in a buffer of its own and writes them together: when the buffer is full, and with
/// [`flush`](Write::flush) and [`shutdown`](Write::shutdown), without which the last ones never arrive.
///
/// Every method may be dropped at any moment: what was gathered is not lost and not written twice, the next write or
/// flush goes on where a dropped one was. A write that is dropped while it makes room for its buffer has taken nothing
/// of it.
///
/// What is read from it comes from the writer underneath, if that can be read from.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::io::{BufWriter, Write};
///
/// let mut writer = BufWriter::new(Vec::new());
/// for word in ["few ", "large ", "ones"] {
///     writer.write_all(word).await.0?;
/// }
/// assert!(writer.get_ref().is_empty());
/// writer.flush().await?;
/// assert_eq!(writer.get_ref(), b"few large ones");
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct BufWriter<W> {
    inner: W,
    gathered: Vec<u8>,
    /// What was gathered before and is being written.
    outbox: Outbox,
    capacity: usize,
}

impl<W> BufWriter<W> {
    /// With a buffer of 8 KiB.
    pub fn new(inner: W) -> BufWriter<W> {
        BufWriter::with_capacity(CAPACITY, inner)
    }

    /// With a buffer of so many bytes.
    pub fn with_capacity(capacity: usize, inner: W) -> BufWriter<W> {
        BufWriter { inner, gathered: Vec::new(), outbox: Outbox::new(), capacity }
    }

    /// How many bytes are yet to be written. Of a flush that was dropped it is not known before the next one how many
    /// it has written; those count as yet to be written.
    pub fn buffered(&self) -> usize {
        self.outbox.rest().len() + self.gathered.len()
    }

    /// The writer underneath.
    pub fn get_ref(&self) -> &W {
        &self.inner
    }

    /// The writer underneath. What is written to it directly overtakes what was gathered.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.inner
    }

    /// The writer underneath. What was gathered and not flushed is lost.
    pub fn into_inner(self) -> W {
        self.inner
    }
}

impl<W: Write> BufWriter<W> {
    /// Writes everything that was gathered.
    async fn write_gathered(&mut self) -> io::Result<()> {
        loop {
            self.outbox.drain(&mut self.inner).await?;
            if self.gathered.is_empty() {
                return Ok(());
            }
            let empty = self.outbox.take();
            self.outbox.put(std::mem::replace(&mut self.gathered, empty));
        }
    }

    /// Makes room for so many bytes. Tells whether they are to be gathered.
    async fn make_room(&mut self, len: usize) -> io::Result<bool> {
        if self.gathered.len() + len > self.capacity {
            self.write_gathered().await?;
        }
        Ok(len < self.capacity)
    }
}

impl<W: Write> Write for BufWriter<W> {
    async fn write<B: IoBuf + Send>(&mut self, buf: B) -> BufResult<usize, B> {
        match self.make_room(buf.buf_len()).await {
            Ok(true) => {
                self.gathered.extend_from_slice(buf.buf_slice());
                (Ok(buf.buf_len()), buf)
            }
            Ok(false) => {
                self.outbox.stand_back();
                self.inner.write(buf).await
            }
            Err(error) => (Err(error), buf),
        }
    }

    async fn write_all<B: IoBuf + Send>(&mut self, buf: B) -> BufResult<(), B> {
        match self.make_room(buf.buf_len()).await {
            Ok(true) => {
                self.gathered.extend_from_slice(buf.buf_slice());
                (Ok(()), buf)
            }
            Ok(false) => {
                self.outbox.stand_back();
                self.inner.write_all(buf).await
            }
            Err(error) => (Err(error), buf),
        }
    }

    async fn write_array<const N: usize>(&mut self, bytes: [u8; N]) -> io::Result<()> {
        if self.make_room(N).await? {
            self.gathered.extend_from_slice(&bytes);
            return Ok(());
        }
        self.outbox.stand_back();
        self.inner.write_array(bytes).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.write_gathered().await?;
        self.inner.flush().await
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        self.write_gathered().await?;
        self.inner.shutdown().await
    }

    /// Of a write that was too large to be gathered.
    async fn take_dropped_write(&mut self) -> Option<io::Result<usize>> {
        if self.outbox.in_doubt() {
            // That is what the writer would tell of.
            return None;
        }
        self.inner.take_dropped_write().await
    }
}

impl<T: Read> Read for BufWriter<T> {
    forward_read!(inner);
}

impl BufWriter<File> {
    /// Writes what was gathered, and moves the file's position: see [`File::seek`].
    ///
    /// # Errors
    /// As [`Write::flush`] and [`File::seek`].
    pub async fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.write_gathered().await?;
        self.inner.seek(to).await
    }
}
