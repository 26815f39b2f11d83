//! Filling a buffer from memory, for readers that are not the kernel.

use super::{IoBuf, IoBufMut, IoVecBuf, IoVecBufMut};

/// What a reader of one's own needs.
pub trait IoBufMutExt: IoBufMut {
    /// Does what a read does: copies as many of the bytes as there is room for into the buffer's start, and leaves its
    /// length there. Gives how many.
    ///
    /// ```
    /// use ringtoss::buf::{IoBufExt, IoBufMutExt};
    ///
    /// let mut buf = Vec::with_capacity(16).slice(..3);
    /// assert_eq!(buf.fill_from(b"hello"), 3);
    /// assert_eq!(buf.into_inner(), b"hel");
    /// ```
    fn fill_from(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.buf_capacity());
        // SAFETY: so many bytes lie within the capacity, which is ours to write, and `bytes` is borrowed, so it is no
        // part of a buffer that is borrowed mutably.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.buf_mut_ptr(), count) };
        // SAFETY: they have just been written.
        unsafe { self.set_buf_len(count) };
        count
    }
}

impl<B: IoBufMut> IoBufMutExt for B {}

/// Fills the whole capacity with one byte.
pub(crate) fn fill_with<B: IoBufMut>(buf: &mut B, byte: u8) -> usize {
    let count = buf.buf_capacity();
    // SAFETY: the capacity is ours to write.
    unsafe { std::ptr::write_bytes(buf.buf_mut_ptr(), byte, count) };
    // SAFETY: all of it has just been written.
    unsafe { buf.set_buf_len(count) };
    count
}

/// The first of several buffers that is not empty, as a buffer.
pub(crate) struct First<V> {
    bufs: V,
    index: usize,
}

impl<V: IoVecBuf> First<V> {
    /// The first with bytes in it.
    pub(crate) fn filled(bufs: V) -> First<V> {
        let index = (0..bufs.buf_count()).find(|&index| bufs.window(index).1 > 0).unwrap_or(usize::MAX);
        First { bufs, index }
    }

    pub(crate) fn into_inner(self) -> V {
        self.bufs
    }
}

impl<V: IoVecBufMut> First<V> {
    /// The first with room in it.
    pub(crate) fn roomy(mut bufs: V) -> First<V> {
        let index = (0..bufs.buf_count()).find(|&index| bufs.window_mut(index).1 > 0).unwrap_or(usize::MAX);
        First { bufs, index }
    }
}

// SAFETY: one of the windows, which are stable while the whole is moved; or nothing.
unsafe impl<V: IoVecBuf> IoBuf for First<V> {
    fn buf_ptr(&self) -> *const u8 {
        if self.index == usize::MAX { std::ptr::NonNull::dangling().as_ptr() } else { self.bufs.window(self.index).0 }
    }

    fn buf_len(&self) -> usize {
        if self.index == usize::MAX { 0 } else { self.bufs.window(self.index).1 }
    }
}

/// The same, with the capacity of the window looked up when it is made: asking for it needs the buffers mutably.
pub(crate) struct FirstMut<V> {
    first: First<V>,
    capacity: usize,
}

impl<V: IoVecBufMut> FirstMut<V> {
    pub(crate) fn new(bufs: V) -> FirstMut<V> {
        let mut first = First::roomy(bufs);
        let capacity = if first.index == usize::MAX { 0 } else { first.bufs.window_mut(first.index).1 };
        FirstMut { first, capacity }
    }

    pub(crate) fn into_inner(self) -> V {
        self.first.bufs
    }
}

// SAFETY: as above.
unsafe impl<V: IoVecBufMut> IoBuf for FirstMut<V> {
    fn buf_ptr(&self) -> *const u8 {
        self.first.buf_ptr()
    }

    fn buf_len(&self) -> usize {
        self.first.buf_len()
    }
}

// SAFETY: the capacity of one of the windows, which is its owner's to write.
unsafe impl<V: IoVecBufMut> IoBufMut for FirstMut<V> {
    fn buf_mut_ptr(&mut self) -> *mut u8 {
        if self.first.index == usize::MAX {
            return std::ptr::NonNull::dangling().as_ptr();
        }
        self.first.bufs.window_mut(self.first.index).0
    }

    fn buf_capacity(&self) -> usize {
        self.capacity
    }

    unsafe fn set_buf_len(&mut self, len: usize) {
        // SAFETY: those before it have no capacity, so filled in order this one gets the `len` bytes that the caller
        // vouches for.
        unsafe { self.first.bufs.set_filled(len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_of_use() {
        let first = First::filled((vec![], vec![1u8, 2], vec![3]));
        assert_eq!(first.buf_slice(), [1, 2]);
        assert!(First::filled([Vec::new()]).buf_slice().is_empty());
        let mut first = FirstMut::new((Vec::new(), Vec::with_capacity(3), vec![7u8; 2]));
        assert_eq!(first.fill_from(b"abcd"), 3);
        assert_eq!(first.into_inner(), (vec![], b"abc".to_vec(), vec![]));
        assert_eq!(FirstMut::new([Vec::new()]).fill_from(b"abcd"), 0);
        assert_eq!(fill_with(&mut Vec::with_capacity(0), 1), 0);
    }
}
