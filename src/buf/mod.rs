//! L0: buffers whose memory the kernel may touch while an operation is in flight.
//!
//! An operation takes its buffer by value and gives it back with the result, because the kernel writes into it whether or
//! not anybody still waits: `(io::Result<T>, B)`, [`BufResult`]. What can be such a buffer says [`IoBuf`] (to write from)
//! and [`IoBufMut`] (to read into): vectors, boxed slices, [`AlignedBuf`] for `O_DIRECT`, with the feature `bytes` `Bytes` (to write
//! from) and `BytesMut`, and [`Slice`]s of them.
//!
//! A read may use the whole capacity, writes from the buffer's start and leaves the length at the number of bytes read (0
//! on an error); nothing is zeroed first. [`IoBufExt::slice`] limits it to a range.
//!
//! ```
//! # ringtoss::block_on(async {
//! use ringtoss::buf::IoBufExt;
//! use ringtoss::fs::File;
//!
//! let file = File::open("/proc/self/stat").await?;
//! let (result, buf) = file.read_at(Vec::with_capacity(4096), 0).await;
//! assert_eq!(result?, buf.len());
//!
//! // Eight bytes at most, behind the first two.
//! let (result, slice) = file.read_at(vec![0u8; 16].slice(2..10), 0).await;
//! assert_eq!(result?, 8);
//! # std::io::Result::Ok(()) }).unwrap();
//! ```
#![allow(unsafe_code)]

mod aligned;
#[cfg(feature = "bytes")]
mod bytes;
mod fill;
mod lease;
mod pool;
mod registered;
mod result;
mod slice;
mod vectored;

use std::sync::Arc;

pub use aligned::AlignedBuf;
pub use fill::IoBufMutExt;
pub(crate) use fill::{First, FirstMut, fill_with};
pub use lease::Lease;
pub(crate) use pool::{Place, Pool, Seen};
pub(crate) use registered::{Inner as RegisteredMemory, Region};
pub use registered::{RegisteredBuf, RegisteredPool, RegisteredPoolBuilder, TakeRegistered};
pub use result::{BufResult, BufResultExt};
pub use slice::{IoBufExt, Slice};
pub use vectored::{IoVecBuf, IoVecBufMut};

/// Memory that the kernel may read while the value is owned by an operation.
///
/// The methods are named so as not to get in the way of a vector's own. They are called in the middle of the loop's work, so
/// using the loop in them panics.
///
/// Nothing that is borrowed for a while is one, for the kernel goes on when whoever has lent it does:
///
/// ```compile_fail,E0277
/// # async fn wrong(stream: &mut ringtoss::net::TcpStream) {
/// let bytes = vec![1, 2, 3];
/// stream.write_all(&bytes).await;
/// # }
/// ```
///
/// # Safety
/// [`buf_ptr`](IoBuf::buf_ptr) gives the same address however often the value is *moved*, for as long as it is not used
/// otherwise, and the first [`buf_len`](IoBuf::buf_len) bytes there are initialised and do not change by themselves. Nor
/// does the length while an operation owns the value.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be written from: buffers go into an operation by value and come back with its result",
    label = "the kernel may not read this while an operation is in flight",
    note = "as in `let (result, buf) = stream.write_all(buf).await;`",
    note = "buffers are `Vec<u8>`, `Box<[u8]>`, `String`, `&'static [u8]`, `Arc<[u8]>`, …, with the feature `bytes` `Bytes` and `BytesMut`, \
            and ranges of them (`buf::IoBufExt::slice`)",
    note = "code that lends its bytes (`&[u8]`, `AsyncWrite`) is for `compat::PollIo`, with the feature `futures-io` or `tokio`"
)]
pub unsafe trait IoBuf: 'static {
    /// The address of the first byte.
    fn buf_ptr(&self) -> *const u8;

    /// Initialised bytes: what a write sends.
    fn buf_len(&self) -> usize;

    /// The initialised bytes.
    fn buf_slice(&self) -> &[u8] {
        // SAFETY: the trait's contract: so many bytes are initialised there, and the borrow keeps them.
        unsafe { std::slice::from_raw_parts(self.buf_ptr(), self.buf_len()) }
    }

    /// The memory that it is in, if that is registered with loops.
    #[doc(hidden)]
    #[inline]
    fn registered(&self) -> Option<&Region> {
        None
    }
}

/// Memory that the kernel may write while the value is owned by an operation.
///
/// ```compile_fail,E0277
/// # async fn wrong(stream: &mut ringtoss::net::TcpStream) {
/// let mut buf = [0; 1024];
/// stream.read(&mut buf).await;
/// # }
/// ```
///
/// # Safety
/// As [`IoBuf`], and [`buf_capacity`](IoBufMut::buf_capacity) bytes from [`buf_mut_ptr`](IoBufMut::buf_mut_ptr), which is
/// the same address as `buf_ptr`, may be written by the value's owner alone. `buf_len` is at most `buf_capacity`, which does
/// not change while an operation owns the value.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be read into: buffers go into an operation by value and come back with its result",
    label = "the kernel may not write to this while an operation is in flight",
    note = "as in `let (result, buf) = stream.read(buf).await;`",
    note = "buffers are `Vec<u8>` (up to its capacity), `Box<[u8]>`, `Box<[u8; N]>`, `buf::AlignedBuf`, with the feature `bytes` `BytesMut`, \
            and ranges of them (`buf::IoBufExt::slice`)",
    note = "code that lends its memory (`&mut [u8]`, `AsyncRead`) is for `compat::PollIo`, with the feature `futures-io` or `tokio`"
)]
pub unsafe trait IoBufMut: IoBuf {
    /// The address of the first byte, for writing.
    fn buf_mut_ptr(&mut self) -> *mut u8;

    /// Bytes that a read may fill, counted from the first.
    fn buf_capacity(&self) -> usize;

    /// Notes that a read has filled the first `len` bytes: buffers that can grow have that length afterwards, those of a
    /// fixed length keep theirs.
    ///
    /// # Safety
    /// The first `len` bytes are initialised, and `len` is at most the capacity.
    unsafe fn set_buf_len(&mut self, len: usize);
}

/// A buffer of a fixed length: all of it is initialised, all of it may be filled.
macro_rules! shared_buffer {
    ($($type:ty),*) => {$(
        // SAFETY: the bytes are behind a pointer (or static), so they stay put while it is moved, and shared: nobody
        // changes them.
        unsafe impl IoBuf for $type {
            fn buf_ptr(&self) -> *const u8 {
                AsRef::<[u8]>::as_ref(&**self).as_ptr()
            }
            fn buf_len(&self) -> usize {
                AsRef::<[u8]>::as_ref(&**self).len()
            }
        }
    )*};
}

shared_buffer!(&'static [u8], &'static str, Arc<[u8]>, Arc<str>, Arc<Vec<u8>>, Arc<String>, Box<str>, String);

// SAFETY: a static array, as a static slice.
unsafe impl<const N: usize> IoBuf for &'static [u8; N] {
    fn buf_ptr(&self) -> *const u8 {
        self.as_ptr()
    }
    fn buf_len(&self) -> usize {
        N
    }
}

// SAFETY: the bytes are on the heap and stay put while the vector is moved; the first `len` are initialised.
unsafe impl IoBuf for Vec<u8> {
    #[inline]
    fn buf_ptr(&self) -> *const u8 {
        self.as_ptr()
    }
    #[inline]
    fn buf_len(&self) -> usize {
        self.len()
    }
}

// SAFETY: the vector owns its whole capacity, from the same address on.
unsafe impl IoBufMut for Vec<u8> {
    #[inline]
    fn buf_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }
    #[inline]
    fn buf_capacity(&self) -> usize {
        self.capacity()
    }
    #[inline]
    unsafe fn set_buf_len(&mut self, len: usize) {
        // SAFETY: the caller's promise is the one that `Vec::set_len` asks for.
        unsafe { self.set_len(len) };
    }
}

// SAFETY: the bytes are on the heap and stay put while the box is moved.
unsafe impl IoBuf for Box<[u8]> {
    fn buf_ptr(&self) -> *const u8 {
        self.as_ptr()
    }
    fn buf_len(&self) -> usize {
        self.len()
    }
}

// SAFETY: the box owns all of it.
unsafe impl IoBufMut for Box<[u8]> {
    fn buf_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }
    fn buf_capacity(&self) -> usize {
        self.len()
    }
    unsafe fn set_buf_len(&mut self, _len: usize) {}
}

// SAFETY: the array is on the heap and stays put while the box is moved.
unsafe impl<const N: usize> IoBuf for Box<[u8; N]> {
    fn buf_ptr(&self) -> *const u8 {
        self.as_ptr()
    }
    fn buf_len(&self) -> usize {
        N
    }
}

// SAFETY: the box owns all of it.
unsafe impl<const N: usize> IoBufMut for Box<[u8; N]> {
    fn buf_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }
    fn buf_capacity(&self) -> usize {
        N
    }
    unsafe fn set_buf_len(&mut self, _len: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address_survives_a_move<B: IoBuf>(buf: B, len: usize) {
        let before = buf.buf_ptr();
        let moved = Box::new(buf);
        assert_eq!(before, moved.buf_ptr());
        assert_eq!(moved.buf_slice().len(), len);
    }

    #[test]
    fn addresses_survive_moves() {
        address_survives_a_move(vec![1u8, 2, 3], 3);
        address_survives_a_move(vec![1u8; 9].into_boxed_slice(), 9);
        address_survives_a_move(Box::new([0u8; 5]), 5);
        address_survives_a_move("static", 6);
        address_survives_a_move(b"array", 5);
        address_survives_a_move(String::from("owned"), 5);
        address_survives_a_move(Arc::<str>::from("shared"), 6);
        address_survives_a_move(Arc::new(vec![1u8]), 1);
        address_survives_a_move(AlignedBuf::with_capacity(10), 0);
    }
}
