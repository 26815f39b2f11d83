//! A range of a buffer as a buffer.

use std::ops::{Bound, RangeBounds};

use super::{IoBuf, IoBufMut};

/// Limits what an operation uses of a buffer.
pub trait IoBufExt: IoBuf + Sized {
    /// The bytes of a range. A write sends those of them that are initialised; a read fills the range from its start, at
    /// most to its end (an open end means the capacity), and leaves the buffer's length at the end of what was read.
    ///
    /// `Bytes` of the crate `bytes` has a method of the same name, which this one comes before where the trait is in scope:
    /// `Bytes::slice(&bytes, 1..3)` is a `Bytes`, and as good a buffer.
    ///
    /// ```
    /// use ringtoss::buf::{IoBuf, IoBufExt};
    /// let slice = b"hello world".to_vec().slice(6..);
    /// assert_eq!(slice.buf_slice(), b"world");
    /// assert_eq!(slice.into_inner().len(), 11);
    /// ```
    ///
    /// # Panics
    /// If the range starts behind the initialised bytes (what lies between would be exposed by a read), or after its end.
    /// An end beyond the capacity is taken as the capacity.
    fn slice(self, range: impl RangeBounds<usize>) -> Slice<Self> {
        let begin = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&start) => start.checked_add(1).expect("a slice's start overflows"),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&end) => end.checked_add(1).expect("a slice's end overflows"),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => usize::MAX,
        };
        assert!(begin <= end, "a slice that starts at {begin} and ends at {end}");
        assert!(
            begin <= self.buf_len(),
            "a slice that starts at {begin}, behind the {} initialised bytes of its buffer",
            self.buf_len()
        );
        Slice { inner: self, begin, end }
    }
}

impl<B: IoBuf> IoBufExt for B {}

/// A range of a buffer, made by [`IoBufExt::slice`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice<B> {
    inner: B,
    begin: usize,
    end: usize,
}

impl<B> Slice<B> {
    /// The whole buffer.
    pub fn into_inner(self) -> B {
        self.inner
    }

    /// The whole buffer.
    pub fn get_ref(&self) -> &B {
        &self.inner
    }

    /// Where the range starts in it.
    pub fn begin(&self) -> usize {
        self.begin
    }

    /// Where the range ends in it, `usize::MAX` if it is open.
    pub fn end(&self) -> usize {
        self.end
    }
}

// SAFETY: the inner buffer's address is stable and so is one at a constant distance. `begin` is at most the inner length
// (checked when made); if the inner buffer got shorter since, as the clone of somebody's may be, the slice is empty.
unsafe impl<B: IoBuf> IoBuf for Slice<B> {
    #[inline]
    fn buf_ptr(&self) -> *const u8 {
        // Wrapping: behind the end where nothing is left, and then it is not used.
        self.inner.buf_ptr().wrapping_add(self.begin)
    }

    #[inline]
    fn buf_len(&self) -> usize {
        self.inner.buf_len().min(self.end).saturating_sub(self.begin)
    }

    #[inline]
    fn registered(&self) -> Option<&super::Region> {
        self.inner.registered()
    }
}

// SAFETY: a part of the inner buffer's capacity, from `begin` on.
unsafe impl<B: IoBufMut> IoBufMut for Slice<B> {
    #[inline]
    fn buf_mut_ptr(&mut self) -> *mut u8 {
        self.inner.buf_mut_ptr().wrapping_add(self.begin)
    }

    #[inline]
    fn buf_capacity(&self) -> usize {
        // What lies before `begin` must be initialised, or a read would expose it.
        if self.inner.buf_len() < self.begin {
            return 0;
        }
        self.inner.buf_capacity().min(self.end) - self.begin
    }

    #[inline]
    unsafe fn set_buf_len(&mut self, len: usize) {
        if self.inner.buf_len() < self.begin {
            // Nothing was read, as there is no capacity.
            return;
        }
        debug_assert!(len <= self.buf_capacity());
        // SAFETY: the first `begin` bytes are initialised, and the caller promises the `len` behind them.
        unsafe { self.inner.set_buf_len(self.begin + len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_read_leaves_the_length_at_its_end() {
        let mut slice = Vec::from(b"abcdef").slice(2..4);
        assert_eq!((slice.buf_len(), slice.buf_capacity()), (2, 2));
        // SAFETY: these bytes were initialised all along.
        unsafe { slice.set_buf_len(1) };
        assert_eq!(slice.into_inner(), b"abc");
    }

    #[test]
    fn slices_of_slices_compose() {
        let slice = (0u8..20).collect::<Vec<_>>().slice(5..15).slice(2..=4);
        assert_eq!(slice.buf_slice(), &[7, 8, 9]);
    }

    #[test]
    #[should_panic(expected = "behind the 3 initialised bytes")]
    fn uninitialised_bytes_are_never_skipped() {
        let mut buf = Vec::with_capacity(100);
        buf.extend_from_slice(b"abc");
        let _ = buf.slice(4..);
    }

    #[test]
    #[should_panic(expected = "starts at 3 and ends at 2")]
    #[expect(clippy::reversed_empty_ranges, reason = "this is what is tested")]
    fn a_range_goes_forward() {
        let _ = vec![0u8; 9].slice(3..2);
    }

    /// A buffer whose clone is shorter than itself, as no contract forbids.
    struct Shrinks(Vec<u8>);

    impl Clone for Shrinks {
        fn clone(&self) -> Shrinks {
            Shrinks(Vec::new())
        }
    }

    // SAFETY: everything is the vector's.
    unsafe impl IoBuf for Shrinks {
        fn buf_ptr(&self) -> *const u8 {
            self.0.buf_ptr()
        }
        fn buf_len(&self) -> usize {
            self.0.buf_len()
        }
    }

    // SAFETY: everything is the vector's.
    unsafe impl IoBufMut for Shrinks {
        fn buf_mut_ptr(&mut self) -> *mut u8 {
            self.0.buf_mut_ptr()
        }
        fn buf_capacity(&self) -> usize {
            self.0.buf_capacity()
        }
        unsafe fn set_buf_len(&mut self, len: usize) {
            // SAFETY: passed on.
            unsafe { self.0.set_buf_len(len) };
        }
    }

    #[test]
    fn a_slice_of_a_buffer_that_got_shorter_is_empty() {
        let slice = Shrinks(vec![1; 100]).slice(50..80);
        assert_eq!((slice.buf_len(), slice.buf_capacity()), (30, 30));
        let clone = slice.clone();
        assert_eq!((clone.buf_slice(), clone.buf_capacity()), (&[][..], 0));
    }

    proptest! {
        #[test]
        fn a_slice_is_what_std_makes_of_the_range(len in 0usize..64, begin in 0usize..64, size in 0usize..80) {
            let bytes: Vec<u8> = (0..len as u8).collect();
            prop_assume!(begin <= len);
            let end = begin + size;
            let slice = bytes.clone().slice(begin..end);
            prop_assert_eq!(slice.buf_slice(), &bytes[begin..end.min(len)]);
            prop_assert!(slice.buf_capacity() <= size);
            prop_assert_eq!(slice.into_inner(), bytes);
        }
    }
}
