//! Memory at an address that `O_DIRECT` accepts.

use std::alloc::{self, Layout};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::{IoBuf, IoBufMut};

/// What a buffer of a fixed capacity does that has `start`, `len` and `capacity()`, and owns the memory.
macro_rules! fixed_capacity {
    ($type:ident; $($more:tt)*) => {
        // SAFETY: it owns plain bytes, as a vector does.
        unsafe impl Send for $type {}
        // SAFETY: as above; shared references only read.
        unsafe impl Sync for $type {}

        impl $type {
            /// Forgets its bytes.
            pub fn clear(&mut self) {
                self.len = 0;
            }

            /// Appends bytes.
            ///
            /// # Panics
            /// If they do not fit: the capacity is fixed.
            pub fn extend_from_slice(&mut self, bytes: &[u8]) {
                let room = self.capacity() - self.len;
                assert!(bytes.len() <= room, "{} bytes do not fit into the {room} left of the buffer", bytes.len());
                // SAFETY: there is room for them, and `bytes` cannot overlap with what is borrowed mutably.
                unsafe { self.start.as_ptr().add(self.len).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
                self.len += bytes.len();
            }

            /// Sets the length; bytes that become part of it have the given value.
            ///
            /// # Panics
            /// If the length exceeds the capacity.
            pub fn resize(&mut self, len: usize, value: u8) {
                assert!(len <= self.capacity(), "a length of {len} exceeds the capacity of {}", self.capacity());
                if len > self.len {
                    // SAFETY: within the capacity.
                    unsafe { self.start.as_ptr().add(self.len).write_bytes(value, len - self.len) };
                }
                self.len = len;
            }

            /// Shortens it, if it is longer.
            pub fn truncate(&mut self, len: usize) {
                self.len = self.len.min(len);
            }
        }

        impl Deref for $type {
            type Target = [u8];

            fn deref(&self) -> &[u8] {
                // SAFETY: the first `len` bytes are initialised, and the borrow keeps them.
                unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
            }
        }

        impl DerefMut for $type {
            fn deref_mut(&mut self) -> &mut [u8] {
                // SAFETY: as above, and the borrow is exclusive.
                unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
            }
        }

        // SAFETY: the memory stays put while the value is moved; the first `len` bytes are initialised.
        unsafe impl IoBuf for $type {
            fn buf_ptr(&self) -> *const u8 {
                self.start.as_ptr()
            }
            fn buf_len(&self) -> usize {
                self.len
            }
            $($more)*
        }

        // SAFETY: it owns its whole capacity.
        unsafe impl IoBufMut for $type {
            fn buf_mut_ptr(&mut self) -> *mut u8 {
                self.start.as_ptr()
            }
            fn buf_capacity(&self) -> usize {
                self.capacity()
            }
            unsafe fn set_buf_len(&mut self, len: usize) {
                debug_assert!(len <= self.capacity());
                self.len = len;
            }
        }
    };
}
pub(super) use fixed_capacity;

/// A byte buffer at an aligned address, of a fixed capacity, for files opened with `O_DIRECT`: these want address, length
/// and offset to be multiples of the device's block, often 512 or 4,096 bytes (`statx(2)`, `STATX_DIOALIGN`).
///
/// The length is that which is asked for, also at the end of a file whose size is no multiple. Of one of 5,000 bytes
/// [`read_exact_at(buf, 5000, 0)`](crate::fs::File::read_exact_at) is `InvalidInput` (`EINVAL`), while
/// [`read_at(buf, 0)`](crate::fs::File::read_at) with a capacity of 8,192 asks for that and gives the 5,000.
///
/// ```
/// use ringtoss::buf::AlignedBuf;
/// let mut buf = AlignedBuf::with_capacity(8192);
/// buf.extend_from_slice(b"data");
/// assert_eq!(buf.as_ptr() as usize % 4096, 0);
/// assert_eq!((&buf[..], buf.capacity()), (&b"data"[..], 8192));
/// ```
pub struct AlignedBuf {
    start: NonNull<u8>,
    len: usize,
    layout: Layout,
}

impl AlignedBuf {
    /// An empty buffer of so many bytes, aligned to 4,096.
    pub fn with_capacity(capacity: usize) -> AlignedBuf {
        AlignedBuf::new(capacity, 4096)
    }

    /// An empty buffer of so many bytes at a multiple of `align`.
    ///
    /// # Panics
    /// If `align` is not a power of two, or the size overflows. Aborts without memory, as vectors do.
    pub fn new(capacity: usize, align: usize) -> AlignedBuf {
        assert!(align.is_power_of_two(), "an alignment of {align} is not a power of two");
        let layout = Layout::from_size_align(capacity, align).expect("a buffer's size overflows");
        let start = if capacity == 0 {
            NonNull::new(std::ptr::without_provenance_mut(align)).expect("an alignment is not zero")
        } else {
            // SAFETY: the layout's size is not zero.
            let start = unsafe { alloc::alloc(layout) };
            NonNull::new(start).unwrap_or_else(|| alloc::handle_alloc_error(layout))
        };
        AlignedBuf { start, len: 0, layout }
    }

    /// Bytes that it can hold.
    pub fn capacity(&self) -> usize {
        self.layout.size()
    }

    /// The alignment that it was made with.
    pub fn align(&self) -> usize {
        self.layout.align()
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        if self.layout.size() > 0 {
            // SAFETY: allocated in `new` with this layout, and freed once.
            unsafe { alloc::dealloc(self.start.as_ptr(), self.layout) };
        }
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuf").field("len", &self.len).field("layout", &self.layout).finish()
    }
}

fixed_capacity! { AlignedBuf; }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_aligned_and_holds_what_it_is_given() {
        for align in [1, 512, 4096, 1 << 21] {
            let mut buf = AlignedBuf::new(3 * align, align);
            assert_eq!(buf.as_ptr() as usize % align, 0);
            buf.resize(2, 7);
            buf.extend_from_slice(&[8]);
            assert_eq!(&buf[..], &[7, 7, 8]);
            buf.truncate(1);
            assert_eq!(&buf[..], &[7]);
            buf.clear();
            assert!(buf.is_empty());
        }
        assert_eq!(AlignedBuf::with_capacity(0).capacity(), 0);
    }

    #[test]
    #[should_panic(expected = "2 bytes do not fit into the 1 left")]
    fn it_does_not_grow() {
        let mut buf = AlignedBuf::new(3, 1);
        buf.extend_from_slice(&[1, 2]);
        buf.extend_from_slice(&[1, 2]);
    }

    #[test]
    #[should_panic(expected = "3 is not a power of two")]
    fn odd_alignments_are_refused() {
        let _ = AlignedBuf::new(8, 3);
    }
}
