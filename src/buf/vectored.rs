//! Several buffers as one.

use super::{IoBuf, IoBufMut, Region};

/// Buffers that are written one after the other.
///
/// # Safety
/// The windows are as stable as [`IoBuf`] asks for while the whole is moved, and there are
/// [`buf_count`](IoVecBuf::buf_count) of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be written from: buffers go into an operation by value and come back with its result",
    note = "several are a tuple, an array, a vector or a boxed slice of buffers: `let (result, (header, body)) = stream.write_vectored((header, body)).await;`"
)]
pub unsafe trait IoVecBuf: 'static {
    /// How many buffers there are.
    fn buf_count(&self) -> usize;

    /// Address and initialised bytes of one.
    fn window(&self, index: usize) -> (*const u8, usize);

    /// The memory that all of them are in, if that is one and registered with loops.
    #[doc(hidden)]
    #[inline]
    fn registered(&self) -> Option<&Region> {
        None
    }
}

/// The one that all are in.
#[inline]
fn common<'a>(mut regions: impl Iterator<Item = Option<&'a Region>>) -> Option<&'a Region> {
    let first = regions.next()??;
    regions.all(|region| region.is_some_and(|region| std::ptr::eq(region, first))).then_some(first)
}

/// Buffers that are filled one after the other.
///
/// # Safety
/// As [`IoVecBuf`], with the guarantees of [`IoBufMut`] for what may be written.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be read into: buffers go into an operation by value and come back with its result",
    note = "several are a tuple, an array, a vector or a boxed slice of buffers: `let (result, (header, body)) = stream.read_vectored((header, body)).await;`"
)]
pub unsafe trait IoVecBufMut: IoVecBuf {
    /// Address and capacity of one.
    fn window_mut(&mut self, index: usize) -> (*mut u8, usize);

    /// Notes that a read has filled the buffers in order with `total` bytes: each to its capacity before the next. Those
    /// that it did not reach are empty afterwards, as a read that gave nothing leaves them.
    ///
    /// # Safety
    /// So many bytes are initialised, in this order.
    unsafe fn set_filled(&mut self, total: usize);
}

macro_rules! sequence {
    ($([$($generics:tt)*] $type:ty),*) => {$(
        // SAFETY: each inner buffer's bytes stay put when it is moved, so they do when the sequence is.
        unsafe impl<$($generics)*> IoVecBuf for $type where B: IoBuf {
            fn buf_count(&self) -> usize {
                self.len()
            }
            fn window(&self, index: usize) -> (*const u8, usize) {
                (self[index].buf_ptr(), self[index].buf_len())
            }
            #[inline]
            fn registered(&self) -> Option<&Region> {
                common(self.iter().map(IoBuf::registered))
            }
        }

        // SAFETY: as above.
        unsafe impl<$($generics)*> IoVecBufMut for $type where B: IoBufMut {
            fn window_mut(&mut self, index: usize) -> (*mut u8, usize) {
                (self[index].buf_mut_ptr(), self[index].buf_capacity())
            }
            unsafe fn set_filled(&mut self, mut total: usize) {
                for buf in self.iter_mut() {
                    let count = buf.buf_capacity().min(total);
                    // SAFETY: the caller's promise, for this buffer's share.
                    unsafe { buf.set_buf_len(count) };
                    total -= count;
                }
            }
        }
    )*};
}

sequence!([B] Vec<B>, [B] Box<[B]>, [B, const N: usize] [B; N]);

macro_rules! tuple {
    ($($name:ident $index:tt),*) => {
        // SAFETY: each inner buffer's bytes stay put when it is moved, so they do when the tuple is.
        unsafe impl<$($name: IoBuf),*> IoVecBuf for ($($name,)*) {
            fn buf_count(&self) -> usize {
                [$($index),*].len()
            }
            fn window(&self, index: usize) -> (*const u8, usize) {
                match index {
                    $($index => (self.$index.buf_ptr(), self.$index.buf_len()),)*
                    _ => panic!("there is no buffer {index}"),
                }
            }
            #[inline]
            fn registered(&self) -> Option<&Region> {
                common([$(self.$index.registered()),*].into_iter())
            }
        }

        // SAFETY: as above.
        unsafe impl<$($name: IoBufMut),*> IoVecBufMut for ($($name,)*) {
            fn window_mut(&mut self, index: usize) -> (*mut u8, usize) {
                match index {
                    $($index => (self.$index.buf_mut_ptr(), self.$index.buf_capacity()),)*
                    _ => panic!("there is no buffer {index}"),
                }
            }
            unsafe fn set_filled(&mut self, mut total: usize) {
                $(
                    let count = self.$index.buf_capacity().min(total);
                    // SAFETY: the caller's promise, for this buffer's share.
                    unsafe { self.$index.set_buf_len(count) };
                    total -= count;
                )*
                debug_assert_eq!(total, 0, "more was read than there was room for");
            }
        }
    };
}

tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_given_out_in_order() {
        let mut bufs = (vec![1u8; 4], vec![2u8; 4].into_boxed_slice(), vec![3u8; 4]);
        // SAFETY: all of it is initialised.
        unsafe { bufs.set_filled(6) };
        assert_eq!((bufs.0.len(), bufs.1.len(), bufs.2.len()), (4, 4, 0));
        let mut bufs = vec![vec![1u8; 4], vec![2u8; 4], vec![3u8; 4]];
        // SAFETY: all of it is initialised.
        unsafe { bufs.set_filled(5) };
        assert_eq!(bufs.iter().map(Vec::len).collect::<Vec<_>>(), [4, 1, 0]);
        assert_eq!(bufs.window(1).1, 1);
        assert_eq!([vec![0u8; 3]].buf_count(), 1);
    }
}
