//! A reader with a buffer.

use std::future::Future;
use std::io::{self, SeekFrom};

use super::read::{ended_early, no_capacity, no_room, not_text};
use super::{Read, Write};
use crate::buf::{BufResult, IoBuf, IoBufExt, IoBufMut, IoBufMutExt, IoVecBuf};
use crate::fs::File;

/// Bytes that are read ahead, unless told otherwise.
const CAPACITY: usize = 8 * 1024;

/// Reads ahead into a buffer of its own, so that many small reads, and reads of lines, cost few large ones.
///
/// Every method may be dropped at any moment and loses nothing: bytes leave the buffer only when the method is done.
/// For a line this means that the buffer grows to hold it.
///
/// What is written to it goes to the reader underneath, if that can be written to.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::fs::File;
/// use ringtoss::io::BufReader;
///
/// let mut lines = BufReader::new(File::open("/etc/passwd").await?).lines();
/// while let Some(line) = lines.next_line().await? {
///     assert!(line.contains(':'));
/// }
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct BufReader<R> {
    inner: R,
    /// Never given to a read while unread bytes are in it: a read that is dropped takes its buffer along.
    buf: Vec<u8>,
    /// Where the unread bytes begin.
    start: usize,
    /// To be read into when `buf` is in use.
    spare: Vec<u8>,
    capacity: usize,
}

impl<R> BufReader<R> {
    /// With a buffer of 8 KiB.
    pub fn new(inner: R) -> BufReader<R> {
        BufReader::with_capacity(CAPACITY, inner)
    }

    /// With a buffer of so many bytes, at least one.
    pub fn with_capacity(capacity: usize, inner: R) -> BufReader<R> {
        BufReader { inner, buf: Vec::new(), start: 0, spare: Vec::new(), capacity: capacity.max(1) }
    }

    /// What was read ahead and not read yet.
    pub fn buffer(&self) -> &[u8] {
        &self.buf[self.start..]
    }

    /// The reader underneath.
    pub fn get_ref(&self) -> &R {
        &self.inner
    }

    /// The reader underneath. What is read from it directly comes before what the buffer holds.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// The reader underneath. What the buffer holds is lost; see [`buffer`](BufReader::buffer).
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// Counts so many bytes of the buffer as read.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.buffer().len(), "more is consumed than the buffer holds");
        self.start += count;
        if self.start == self.buf.len() {
            self.start = 0;
            self.buf.clear();
            // A long line may have made it large.
            if self.buf.capacity() > 4 * self.capacity {
                self.buf = Vec::new();
            }
        }
    }
}

impl<R: Read> BufReader<R> {
    /// What is in the buffer, after reading ahead if that was empty. Empty is the end. What was used of it is to be
    /// told to [`consume`](BufReader::consume).
    ///
    /// # Errors
    /// The reader's.
    pub async fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.buffer().is_empty() {
            let mut buf = std::mem::take(&mut self.buf);
            self.start = 0;
            buf.clear();
            buf.reserve_exact(self.capacity);
            let (result, mut buf) = self.inner.read(buf).await;
            buf.truncate(*result.as_ref().unwrap_or(&0));
            self.buf = buf;
            result?;
        }
        Ok(self.buffer())
    }

    /// Reads more behind what is in the buffer. 0 is the end.
    async fn fill_more(&mut self) -> io::Result<usize> {
        if self.buffer().is_empty() {
            return self.fill_buf().await.map(<[u8]>::len);
        }
        let mut spare = std::mem::take(&mut self.spare);
        spare.reserve_exact(self.capacity);
        let (result, mut spare) = self.inner.read(spare).await;
        spare.truncate(*result.as_ref().unwrap_or(&0));
        if self.start >= self.buf.len() / 2 {
            self.buf.drain(..self.start);
            self.start = 0;
        }
        self.buf.extend_from_slice(&spare);
        spare.clear();
        self.spare = spare;
        result
    }

    /// Has the bytes up to and with a delimiter in the buffer, or all until the end. How many.
    async fn look_for(&mut self, delimiter: u8) -> io::Result<usize> {
        let mut searched = 0;
        loop {
            if let Some(index) = self.buffer()[searched..].iter().position(|&byte| byte == delimiter) {
                return Ok(searched + index + 1);
            }
            searched = self.buffer().len();
            match self.fill_more().await {
                Ok(0) => return Ok(searched),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Appends the bytes up to and with a delimiter, or all until the end, and gives their number; 0 is the end.
    ///
    /// ```
    /// # ringtoss::block_on(async {
    /// let mut reader = ringtoss::io::BufReader::new(&b"one,two"[..]);
    /// let mut word = Vec::new();
    /// assert_eq!(reader.read_until(b',', &mut word).await?, 4);
    /// assert_eq!(word, b"one,");
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// The reader's. Nothing is appended then.
    pub async fn read_until(&mut self, delimiter: u8, buf: &mut Vec<u8>) -> io::Result<usize> {
        let count = self.look_for(delimiter).await?;
        buf.extend_from_slice(&self.buffer()[..count]);
        self.consume(count);
        Ok(count)
    }

    /// Appends a line with its `\n`, or all until the end, and gives the number of bytes; 0 is the end.
    ///
    /// # Errors
    /// The reader's; `InvalidData` for a line that is not UTF-8, which is skipped. Nothing is appended then.
    pub async fn read_line(&mut self, line: &mut String) -> io::Result<usize> {
        let count = self.look_for(b'\n').await?;
        let valid = std::str::from_utf8(&self.buffer()[..count]).map(|text| line.push_str(text));
        self.consume(count);
        valid.map_err(|_| not_text()).map(|()| count)
    }

    /// Skips the bytes up to and with a delimiter, or all until the end, and gives their number; 0 is the end. Dropped early, what
    /// was skipped so far is.
    ///
    /// # Errors
    /// The reader's.
    pub async fn skip_until(&mut self, delimiter: u8) -> io::Result<usize> {
        let mut skipped = 0;
        loop {
            let found = match self.fill_buf().await {
                Ok(bytes) => bytes.iter().position(|&byte| byte == delimiter),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let count = found.map_or(self.buffer().len(), |index| index + 1);
            self.consume(count);
            skipped += count;
            if found.is_some() || count == 0 {
                return Ok(skipped);
            }
        }
    }

    /// Whether there is more to read; if the buffer is empty, it reads ahead to see.
    ///
    /// # Errors
    /// The reader's.
    pub async fn has_data_left(&mut self) -> io::Result<bool> {
        self.fill_buf().await.map(|bytes| !bytes.is_empty())
    }

    /// The pieces between delimiters, one by one.
    ///
    /// ```
    /// # ringtoss::block_on(async {
    /// let mut words = ringtoss::io::BufReader::new(&b"one,two"[..]).split(b',');
    /// assert_eq!(words.next_segment().await?.unwrap(), b"one");
    /// assert_eq!(words.next_segment().await?.unwrap(), b"two");
    /// assert!(words.next_segment().await?.is_none());
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn split(self, delimiter: u8) -> Segments<R> {
        Segments { reader: self, delimiter }
    }

    /// The lines, one by one.
    pub fn lines(self) -> Lines<R> {
        Lines { reader: self }
    }
}

/// Lines of a reader, made by [`BufReader::lines`].
#[derive(Debug)]
pub struct Lines<R> {
    reader: BufReader<R>,
}

impl<R: Read> Lines<R> {
    /// The next line without its `\n` or `\r\n`; `None` at the end. Dropped early, nothing is lost.
    ///
    /// # Errors
    /// As [`BufReader::read_line`].
    pub async fn next_line(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        if self.reader.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        if line.ends_with('\n') {
            line.pop();
            if line.ends_with('\r') {
                line.pop();
            }
        }
        Ok(Some(line))
    }

    /// The reader.
    pub fn get_mut(&mut self) -> &mut BufReader<R> {
        &mut self.reader
    }

    /// The reader.
    pub fn into_inner(self) -> BufReader<R> {
        self.reader
    }
}

/// Pieces of a reader, made by [`BufReader::split`].
#[derive(Debug)]
pub struct Segments<R> {
    reader: BufReader<R>,
    delimiter: u8,
}

impl<R: Read> Segments<R> {
    /// The next piece without its delimiter; `None` at the end. Dropped early, nothing is lost.
    ///
    /// # Errors
    /// The reader's.
    pub async fn next_segment(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut segment = Vec::new();
        if self.reader.read_until(self.delimiter, &mut segment).await? == 0 {
            return Ok(None);
        }
        if segment.last() == Some(&self.delimiter) {
            segment.pop();
        }
        Ok(Some(segment))
    }

    /// The reader.
    pub fn get_mut(&mut self) -> &mut BufReader<R> {
        &mut self.reader
    }

    /// The reader.
    pub fn into_inner(self) -> BufReader<R> {
        self.reader
    }
}

impl BufReader<File> {
    /// Moves the position, as [`File::seek`] does, and forgets what was read ahead. From where it is means from behind what was
    /// read of this reader.
    ///
    /// # Errors
    /// As [`File::seek`].
    pub async fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Current(offset) => {
                let here = self.inner.stream_position().await? - self.buffer().len() as u64;
                let before_start = || io::Error::from_raw_os_error(libc::EINVAL);
                SeekFrom::Start(here.checked_add_signed(offset).ok_or_else(before_start)?)
            }
            to => to,
        };
        let position = self.inner.seek(to).await?;
        self.consume(self.buffer().len());
        Ok(position)
    }
}

impl<R: Read> Read for BufReader<R> {
    async fn read_array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        while self.buffer().len() < N {
            match self.fill_more().await {
                Ok(0) => {
                    self.consume(self.buffer().len());
                    return Err(ended_early());
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let bytes = self.buffer()[..N].try_into().expect("so many are there");
        self.consume(N);
        Ok(bytes)
    }

    async fn read<B: IoBufMut + Send>(&mut self, mut buf: B) -> BufResult<usize, B> {
        if buf.buf_capacity() == 0 {
            return (Err(no_capacity()), buf);
        }
        if self.buffer().is_empty() && buf.buf_capacity() >= self.capacity {
            // Nothing is gained by reading ahead.
            return self.inner.read(buf).await;
        }
        if let Err(error) = self.fill_buf().await {
            buf.fill_from(&[]);
            return (Err(error), buf);
        }
        let count = buf.fill_from(self.buffer());
        self.consume(count);
        (Ok(count), buf)
    }

    async fn read_exact<B: IoBufMut + Send>(&mut self, mut buf: B, len: usize) -> BufResult<usize, B> {
        if len > buf.buf_capacity() {
            return (Err(no_room("an exact read of more bytes than the buffer has capacity")), buf);
        }
        while self.buffer().len() < len && len < self.capacity {
            match self.fill_more().await {
                Ok(0) => {
                    let count = buf.fill_from(self.buffer());
                    self.consume(count);
                    return (Err(ended_early()), buf);
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    buf.fill_from(&[]);
                    return (Err(error), buf);
                }
            }
        }
        let have = buf.fill_from(&self.buffer()[..self.buffer().len().min(len)]);
        let (result, slice) = match len - have {
            0 => (Ok(0), buf.slice(have..)),
            // The bytes that are here are counted as read when the others are: a drop in between loses none.
            more => self.inner.read_exact(buf.slice(have..), more).await,
        };
        self.consume(have);
        (result.map(|more| have + more), slice.into_inner())
    }

    async fn read_to_end(&mut self, mut buf: Vec<u8>) -> BufResult<usize, Vec<u8>> {
        let have = self.buffer().len();
        buf.extend_from_slice(self.buffer());
        let (result, buf) = self.inner.read_to_end(buf).await;
        self.consume(have);
        (result.map(|more| have + more), buf)
    }
}

impl<T: Write> Write for BufReader<T> {
    forward_write!(inner);
}
