//! Memory into which others have pointers.

use std::ptr::NonNull;

/// A boxed slice into which others have pointers: the kernel, or whoever keeps this beside them. It is no `Box`, because to move
/// or borrow one says that nobody else has any.
pub(crate) struct Pointed<T>(NonNull<[T]>);

// SAFETY: it owns the values, as a box does.
unsafe impl<T: Send> Send for Pointed<T> {}
// SAFETY: as above; shared, it gives nothing but an address.
unsafe impl<T: Sync> Sync for Pointed<T> {}

impl<T> Pointed<T> {
    pub(crate) fn new(values: Box<[T]>) -> Pointed<T> {
        Pointed(NonNull::from(Box::leak(values)))
    }

    /// Where the first value lies, for as long as this lives.
    pub(crate) fn start(&self) -> NonNull<T> {
        self.0.cast()
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T> Drop for Pointed<T> {
    fn drop(&mut self) {
        // SAFETY: it came out of a box in `new`, and goes back once.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}
