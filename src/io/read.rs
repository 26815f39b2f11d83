//! The trait of what is read from.

use std::future::Future;
use std::io;

use super::{Chain, Take};
use crate::buf::{BufResult, FirstMut, IoBufExt, IoBufMut, IoBufMutExt, IoVecBufMut};

/// Room that is made at least when a vector is full.
const LEAST_ROOM: usize = 8 * 1024;

macro_rules! read_numbers {
    ($($name:ident $type:ident $from_bytes:ident $order:literal;)*) => {$(
        #[doc = concat!("Reads a `", stringify!($type), "`", $order, ".")]
        ///
        /// # Errors
        /// As [`read_exact`](Read::read_exact).
        fn $name(&mut self) -> impl Future<Output = io::Result<$type>> + Send {
            async move { self.read_array().await.map($type::$from_bytes) }
        }
    )*};
}

/// What can be read from, for code that works with any of them.
///
/// One method has to be written, [`read`](Read::read); the others come with it. Types of this crate bring their own,
/// which the [module](super) tells about.
///
/// ```
/// use ringtoss::buf::{BufResult, IoBufMut, IoBufMutExt};
/// use ringtoss::io::Read;
///
/// /// Counts down.
/// struct Countdown(u8);
///
/// impl Read for Countdown {
///     async fn read<B: IoBufMut + Send>(&mut self, mut buf: B) -> BufResult<usize, B> {
///         self.0 = self.0.saturating_sub(1);
///         let bytes = if self.0 == 0 { &[][..] } else { &[self.0] };
///         (Ok(buf.fill_from(bytes)), buf)
///     }
/// }
///
/// ringtoss::block_on(async {
///     let (result, buf) = Countdown(4).read_to_end(Vec::new()).await;
///     assert_eq!((result.unwrap(), buf), (3, vec![3, 2, 1]));
/// });
/// ```
pub trait Read: Send {
    /// Reads what is there, up to the buffer's capacity, from its start, and leaves its length there. 0 is the end.
    ///
    /// # Errors
    /// The reader's; `InvalidInput` for a buffer without capacity, for which 0 would tell an end that is none. The
    /// buffer comes back.
    fn read<B: IoBufMut + Send>(&mut self, buf: B) -> impl Future<Output = BufResult<usize, B>> + Send;

    /// The same, behind what the buffer holds.
    ///
    /// # Errors
    /// As [`read`](Read::read); `InvalidInput` for a full buffer.
    fn read_append<B: IoBufMut + Send>(&mut self, buf: B) -> impl Future<Output = BufResult<usize, B>> + Send {
        async move {
            let start = buf.buf_len();
            if start >= buf.buf_capacity() {
                return (Err(no_room("a read that appends to a full buffer: reserve some capacity")), buf);
            }
            let (result, slice) = self.read(buf.slice(start..)).await;
            (result, slice.into_inner())
        }
    }

    /// Reads exactly `len` bytes, from the buffer's start.
    ///
    /// # Errors
    /// As [`read`](Read::read); `UnexpectedEof` if the end comes before, with what there was in the buffer;
    /// `InvalidInput` if the buffer has less capacity.
    fn read_exact<B: IoBufMut + Send>(
        &mut self,
        mut buf: B,
        len: usize,
    ) -> impl Future<Output = BufResult<usize, B>> + Send {
        async move {
            if len > buf.buf_capacity() {
                return (Err(no_room("an exact read of more bytes than the buffer has capacity")), buf);
            }
            buf.fill_from(&[]);
            let mut done = 0;
            while done < len {
                let (result, slice) = self.read(buf.slice(done..len)).await;
                buf = slice.into_inner();
                match result {
                    Ok(0) => return (Err(ended_early()), buf),
                    Ok(count) => done += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return (Err(error), buf),
                }
            }
            (Ok(done), buf)
        }
    }

    /// Reads what is there into several buffers, each filled before the next. As it comes, it uses the first that has
    /// capacity.
    ///
    /// # Errors
    /// As [`read`](Read::read).
    fn read_vectored<V: IoVecBufMut + Send>(&mut self, bufs: V) -> impl Future<Output = BufResult<usize, V>> + Send {
        async move {
            let (result, first) = self.read(FirstMut::new(bufs)).await;
            (result, first.into_inner())
        }
    }

    /// Reads until the end, behind what the vector holds, and gives the number of bytes read.
    ///
    /// # Errors
    /// As [`read`](Read::read), and `OutOfMemory`. The vector comes back with what was read, which counts as read.
    fn read_to_end(&mut self, mut buf: Vec<u8>) -> impl Future<Output = BufResult<usize, Vec<u8>>> + Send {
        async move {
            let start = buf.len();
            loop {
                if buf.len() == buf.capacity() && buf.try_reserve(buf.len().max(LEAST_ROOM)).is_err() {
                    return (Err(io::ErrorKind::OutOfMemory.into()), buf);
                }
                let result;
                (result, buf) = self.read_append(buf).await;
                match result {
                    Ok(0) => return (Ok(buf.len() - start), buf),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return (Err(error), buf),
                }
            }
        }
    }

    /// Reads until the end, behind what the string holds, and gives the number of bytes read.
    ///
    /// # Errors
    /// As [`read_to_end`](Read::read_to_end), and `InvalidData` for what is not UTF-8, which is lost. The string comes back
    /// as it was, after an error of the reader's with the whole characters that were read.
    fn read_to_string(&mut self, buf: String) -> impl Future<Output = BufResult<usize, String>> + Send {
        async move {
            let start = buf.len();
            let (mut result, mut bytes) = self.read_to_end(buf.into_bytes()).await;
            let valid = match std::str::from_utf8(&bytes[start..]) {
                Ok(_) => bytes.len(),
                Err(_) if result.is_ok() => {
                    result = Err(not_text());
                    start
                }
                Err(error) => start + error.valid_up_to(),
            };
            bytes.truncate(valid);
            (result, String::from_utf8(bytes).expect("just looked at"))
        }
    }

    /// Exactly so many bytes. A reader with a buffer brings its own.
    #[doc(hidden)]
    fn read_array<const N: usize>(&mut self) -> impl Future<Output = io::Result<[u8; N]>> + Send {
        async move {
            let (result, bytes) = self.read_exact(Vec::with_capacity(N), N).await;
            result?;
            Ok(bytes.as_slice().try_into().expect("so many were read"))
        }
    }

    read_numbers! {
        read_u8 u8 from_be_bytes "";
        read_i8 i8 from_be_bytes "";
        read_u16 u16 from_be_bytes ", the highest byte first";
        read_i16 i16 from_be_bytes ", the highest byte first";
        read_u32 u32 from_be_bytes ", the highest byte first";
        read_i32 i32 from_be_bytes ", the highest byte first";
        read_u64 u64 from_be_bytes ", the highest byte first";
        read_i64 i64 from_be_bytes ", the highest byte first";
        read_u128 u128 from_be_bytes ", the highest byte first";
        read_i128 i128 from_be_bytes ", the highest byte first";
        read_f32 f32 from_be_bytes ", the highest byte first";
        read_f64 f64 from_be_bytes ", the highest byte first";
        read_u16_le u16 from_le_bytes ", the lowest byte first";
        read_i16_le i16 from_le_bytes ", the lowest byte first";
        read_u32_le u32 from_le_bytes ", the lowest byte first";
        read_i32_le i32 from_le_bytes ", the lowest byte first";
        read_u64_le u64 from_le_bytes ", the lowest byte first";
        read_i64_le i64 from_le_bytes ", the lowest byte first";
        read_u128_le u128 from_le_bytes ", the lowest byte first";
        read_i128_le i128 from_le_bytes ", the lowest byte first";
        read_f32_le f32 from_le_bytes ", the lowest byte first";
        read_f64_le f64 from_le_bytes ", the lowest byte first";
    }

    /// This reader, and when that ends, another.
    ///
    /// ```
    /// # ringtoss::block_on(async {
    /// use ringtoss::io::Read;
    /// let mut both = (&b"over "[..]).chain(&b"the ring"[..]);
    /// assert_eq!(both.read_to_end(Vec::new()).await.1, b"over the ring");
    /// # })
    /// ```
    fn chain<R: Read>(self, next: R) -> Chain<Self, R>
    where
        Self: Sized,
    {
        Chain::new(self, next)
    }

    /// This reader, which ends after so many bytes.
    ///
    /// ```
    /// # ringtoss::block_on(async {
    /// use ringtoss::io::Read;
    /// let mut start = (&b"over the ring"[..]).take(4);
    /// assert_eq!(start.read_to_end(Vec::new()).await.1, b"over");
    /// # })
    /// ```
    fn take(self, limit: u64) -> Take<Self>
    where
        Self: Sized,
    {
        Take::new(self, limit)
    }
}

pub(super) fn no_room(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

pub(super) fn no_capacity() -> io::Error {
    no_room("a read into a buffer without capacity: reserve some, or it could not tell the end")
}

pub(super) fn ended_early() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the end came before the buffer was filled")
}

pub(super) fn not_text() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "stream did not contain valid UTF-8")
}

impl<R: Read + ?Sized> Read for &mut R {
    fn read<B: IoBufMut + Send>(&mut self, buf: B) -> impl Future<Output = BufResult<usize, B>> + Send {
        (**self).read(buf)
    }

    fn read_append<B: IoBufMut + Send>(&mut self, buf: B) -> impl Future<Output = BufResult<usize, B>> + Send {
        (**self).read_append(buf)
    }

    fn read_exact<B: IoBufMut + Send>(
        &mut self,
        buf: B,
        len: usize,
    ) -> impl Future<Output = BufResult<usize, B>> + Send {
        (**self).read_exact(buf, len)
    }

    fn read_vectored<V: IoVecBufMut + Send>(&mut self, bufs: V) -> impl Future<Output = BufResult<usize, V>> + Send {
        (**self).read_vectored(bufs)
    }

    fn read_to_end(&mut self, buf: Vec<u8>) -> impl Future<Output = BufResult<usize, Vec<u8>>> + Send {
        (**self).read_to_end(buf)
    }

    fn read_array<const N: usize>(&mut self) -> impl Future<Output = io::Result<[u8; N]>> + Send {
        (**self).read_array()
    }
}
