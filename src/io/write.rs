//! The trait of what is written to.

use std::future::{Future, ready};
use std::io;

use crate::buf::{BufResult, First, IoBuf, IoBufExt, IoVecBuf};

macro_rules! write_numbers {
    ($($name:ident $type:ident $to_bytes:ident $order:literal;)*) => {$(
        #[doc = concat!("Writes a `", stringify!($type), "`", $order, ".")]
        ///
        /// # Errors
        /// As [`write_all`](Write::write_all).
        fn $name(&mut self, number: $type) -> impl Future<Output = io::Result<()>> + Send {
            self.write_array(number.$to_bytes())
        }
    )*};
}

/// What can be written to, for code that works with any of them.
///
/// Two methods have to be written, [`write`](Write::write) and [`shutdown`](Write::shutdown), and with a buffer of
/// one's own [`flush`](Write::flush); the others come with them.
pub trait Write: Send {
    /// Writes what the writer takes at once.
    ///
    /// # Errors
    /// The writer's. The buffer comes back.
    fn write<B: IoBuf + Send>(&mut self, buf: B) -> impl Future<Output = BufResult<usize, B>> + Send;

    /// Writes all of the buffer.
    ///
    /// # Errors
    /// As [`write`](Write::write); `WriteZero` if the writer takes no more.
    fn write_all<B: IoBuf + Send>(&mut self, mut buf: B) -> impl Future<Output = BufResult<(), B>> + Send {
        async move {
            let mut done = 0;
            while done < buf.buf_len() {
                let (result, slice) = self.write(buf.slice(done..)).await;
                buf = slice.into_inner();
                match result {
                    Ok(0) => return (Err(takes_no_more()), buf),
                    Ok(count) => done += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return (Err(error), buf),
                }
            }
            (Ok(()), buf)
        }
    }

    /// Writes from several buffers, one after the other, what the writer takes at once. As it comes, it writes the
    /// first that is not empty.
    ///
    /// # Errors
    /// As [`write`](Write::write).
    fn write_vectored<V: IoVecBuf + Send>(&mut self, bufs: V) -> impl Future<Output = BufResult<usize, V>> + Send {
        async move {
            let (result, first) = self.write(First::filled(bufs)).await;
            (result, first.into_inner())
        }
    }

    /// Hands on what the writer holds back. Writers that hold nothing back have nothing to do.
    ///
    /// # Errors
    /// As [`write`](Write::write).
    fn flush(&mut self) -> impl Future<Output = io::Result<()>> + Send {
        ready(Ok(()))
    }

    /// Flushes, and tells the other side that nothing more comes, if there is one. (Whoever reads from a pipe sees its
    /// end when the last sender is dropped, and not by this.)
    ///
    /// # Errors
    /// The writer's.
    fn shutdown(&mut self) -> impl Future<Output = io::Result<()>> + Send;

    /// These bytes. A writer with a buffer brings its own.
    #[doc(hidden)]
    fn write_array<const N: usize>(&mut self, bytes: [u8; N]) -> impl Future<Output = io::Result<()>> + Send {
        async move { self.write_all(bytes.to_vec()).await.0 }
    }

    write_numbers! {
        write_u8 u8 to_be_bytes "";
        write_i8 i8 to_be_bytes "";
        write_u16 u16 to_be_bytes ", the highest byte first";
        write_i16 i16 to_be_bytes ", the highest byte first";
        write_u32 u32 to_be_bytes ", the highest byte first";
        write_i32 i32 to_be_bytes ", the highest byte first";
        write_u64 u64 to_be_bytes ", the highest byte first";
        write_i64 i64 to_be_bytes ", the highest byte first";
        write_u128 u128 to_be_bytes ", the highest byte first";
        write_i128 i128 to_be_bytes ", the highest byte first";
        write_f32 f32 to_be_bytes ", the highest byte first";
        write_f64 f64 to_be_bytes ", the highest byte first";
        write_u16_le u16 to_le_bytes ", the lowest byte first";
        write_i16_le i16 to_le_bytes ", the lowest byte first";
        write_u32_le u32 to_le_bytes ", the lowest byte first";
        write_i32_le i32 to_le_bytes ", the lowest byte first";
        write_u64_le u64 to_le_bytes ", the lowest byte first";
        write_i64_le i64 to_le_bytes ", the lowest byte first";
        write_u128_le u128 to_le_bytes ", the lowest byte first";
        write_i128_le i128 to_le_bytes ", the lowest byte first";
        write_f32_le f32 to_le_bytes ", the lowest byte first";
        write_f64_le f64 to_le_bytes ", the lowest byte first";
    }

    /// What became of the last [`write`](Write::write) whose future was dropped: how many bytes were taken, or the
    /// error that it met; `None` if it took none. What is built on a writer ([`BufWriter`](super::BufWriter),
    /// [`copy`](super::copy())) goes on from there. A writer whose dropped write may have taken something has to write
    /// this method.
    fn take_dropped_write(&mut self) -> impl Future<Output = Option<io::Result<usize>>> + Send {
        ready(None)
    }
}

pub(super) fn takes_no_more() -> io::Error {
    io::Error::new(io::ErrorKind::WriteZero, "the writer took nothing more of the buffer")
}

impl<W: Write + ?Sized> Write for &mut W {
    fn write<B: IoBuf + Send>(&mut self, buf: B) -> impl Future<Output = BufResult<usize, B>> + Send {
        (**self).write(buf)
    }

    fn write_all<B: IoBuf + Send>(&mut self, buf: B) -> impl Future<Output = BufResult<(), B>> + Send {
        (**self).write_all(buf)
    }

    fn write_vectored<V: IoVecBuf + Send>(&mut self, bufs: V) -> impl Future<Output = BufResult<usize, V>> + Send {
        (**self).write_vectored(bufs)
    }

    fn flush(&mut self) -> impl Future<Output = io::Result<()>> + Send {
        (**self).flush()
    }

    fn shutdown(&mut self) -> impl Future<Output = io::Result<()>> + Send {
        (**self).shutdown()
    }

    fn take_dropped_write(&mut self) -> impl Future<Output = Option<io::Result<usize>>> + Send {
        (**self).take_dropped_write()
    }

    fn write_array<const N: usize>(&mut self, bytes: [u8; N]) -> impl Future<Output = io::Result<()>> + Send {
        (**self).write_array(bytes)
    }
}
