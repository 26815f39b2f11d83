//! `Bytes` and `BytesMut` of the crate `bytes` as buffers.
//!
//! Both are a pointer, a length and a share in an allocation (or a static slice, or nothing): no byte is ever inside of the
//! value, so moving it moves none. What others have of the same allocation never overlaps with what may be written:
//!
//! * Bytes of a `Bytes` are read only, by everybody who shares them. Making a `BytesMut` of one again (`try_into_mut`) takes the
//!   last share, and so does a `BytesMut` that moves its bytes to the front or grows in place (`reserve`, `try_reclaim`). An
//!   operation that owns a value, in flight, dropped or forgotten, has a share, so nobody else's is the last.
//! * Splitting a `BytesMut` gives each part its range of the *capacity* and nothing of the others'.
//! * What reallocates (`reserve`, `BufMut`) takes `&mut self`, and whoever owns the value, an operation, calls none of it.

use ::bytes::{Bytes, BytesMut};

use super::{IoBuf, IoBufMut};

// SAFETY: see above: the bytes are behind a pointer, shared or static, and nobody changes them while there is a share.
unsafe impl IoBuf for Bytes {
    fn buf_ptr(&self) -> *const u8 {
        self.as_ptr()
    }
    fn buf_len(&self) -> usize {
        self.len()
    }
}

// SAFETY: see above: the bytes are behind a pointer and this value's alone; the first `len` are initialised.
unsafe impl IoBuf for BytesMut {
    #[inline]
    fn buf_ptr(&self) -> *const u8 {
        // `as_ptr` is good for the `len` bytes of a slice, and whoever has filled the buffer looks, through this address, at what
        // lies behind them before the length is set. That was filled by an address that was exposed in `buf_mut_ptr`.
        std::ptr::with_exposed_provenance(self.as_ptr().expose_provenance())
    }
    #[inline]
    fn buf_len(&self) -> usize {
        self.len()
    }
}

// SAFETY: see above: the whole capacity, from the same address on, is this value's alone.
unsafe impl IoBufMut for BytesMut {
    #[inline]
    fn buf_mut_ptr(&mut self) -> *mut u8 {
        // A pointer that is good for the whole capacity: the spare one of an empty buffer.
        let len = self.len();
        // SAFETY: no bytes are always initialised.
        unsafe { self.set_len(0) };
        let all = self.spare_capacity_mut().as_mut_ptr().cast::<u8>();
        // SAFETY: it had that length before, and its bytes have not been touched.
        unsafe { self.set_len(len) };
        std::ptr::with_exposed_provenance_mut(all.expose_provenance())
    }
    #[inline]
    fn buf_capacity(&self) -> usize {
        self.capacity()
    }
    #[inline]
    unsafe fn set_buf_len(&mut self, len: usize) {
        // SAFETY: the caller's promise is the one that `BytesMut::set_len` asks for.
        unsafe { self.set_len(len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buf::{IoBufExt, IoBufMutExt, IoVecBufMut, Slice};

    fn holding(capacity: usize, bytes: &[u8]) -> BytesMut {
        let mut buf = BytesMut::with_capacity(capacity);
        buf.extend_from_slice(bytes);
        buf
    }

    /// The addresses of one that holds something and one that is empty, static, owned by others, shared.
    #[test]
    fn addresses_survive_moves() {
        let shared = Bytes::from(vec![1u8; 9]);
        for buf in [
            Bytes::new(),
            Bytes::from_static(b"static"),
            Bytes::from_owner([1u8; 8]),
            Bytes::slice(&shared, 2..5),
            shared,
            holding(9, b"frozen").freeze(),
        ] {
            let (before, len) = (buf.buf_ptr(), buf.len());
            let moved = Box::new(buf);
            assert_eq!((moved.buf_ptr(), moved.buf_slice().len()), (before, len));
        }
        let mut whole = holding(64, b"0123456789");
        let behind = whole.split_off(40);
        let front = whole.split_to(3);
        for buf in [BytesMut::new(), BytesMut::zeroed(5), holding(99, b"one"), front, whole, behind] {
            let (before, len, capacity) = (buf.buf_ptr(), buf.len(), buf.capacity());
            let mut moved = Box::new(buf);
            assert_eq!((moved.buf_ptr(), moved.buf_mut_ptr().cast_const()), (before, before));
            assert_eq!((moved.buf_slice().len(), moved.buf_capacity()), (len, capacity));
        }
    }

    /// As the kernel does: written to by an address from before the move, and looked at before the length is set.
    #[test]
    fn what_is_written_is_there() {
        let mut buf = holding(16, b"abc");
        let capacity = buf.buf_capacity();
        let address = buf.buf_mut_ptr() as u64;
        let mut moved = Box::new(buf);
        let end = (address as *mut u8).wrapping_add(capacity);
        // SAFETY: the whole capacity is the buffer's, so is its last byte.
        unsafe { std::ptr::write_bytes(address as *mut u8, b'x', capacity) };
        // SAFETY: it has just been written.
        assert_eq!(unsafe { moved.buf_ptr().add(capacity - 1).read() }, b'x');
        assert_eq!(moved.buf_ptr().wrapping_add(capacity), end.cast_const());
        // SAFETY: all of it was written.
        unsafe { moved.set_buf_len(capacity) };
        assert!(moved.iter().all(|&byte| byte == b'x') && moved.len() == capacity);
    }

    /// A part is filled to its own end, whatever the others hold.
    #[test]
    fn parts_do_not_overlap() {
        let mut front = holding(32, &[b'f'; 32]);
        let mut behind = front.split_off(20);
        let mut middle = front.split_off(10);
        middle.clear();
        assert_eq!(middle.buf_capacity(), 10);
        assert_eq!(middle.fill_from(&[b'm'; 99]), 10);
        assert_eq!((&front[..], &middle[..], &behind[..]), (&[b'f'; 10][..], &[b'm'; 10][..], &[b'f'; 12][..]));
        // Those that share cannot move while another does.
        assert!(!behind.try_reclaim(99) && !front.try_reclaim(99));
    }

    #[test]
    fn ranges_and_sequences() {
        let mut slice = holding(16, b"abcdef").slice(2..4);
        assert_eq!((slice.buf_slice(), slice.buf_capacity()), (&b"cd"[..], 2));
        assert_eq!(slice.fill_from(b"xyz"), 2);
        assert_eq!(&slice.into_inner()[..], b"abxy");
        let mut bufs = (holding(4, b"one"), BytesMut::new(), holding(4, b""));
        // SAFETY: three bytes are.
        unsafe { bufs.set_filled(3) };
        assert_eq!((&bufs.0[..], bufs.2.len()), (&b"one"[..], 0));
        assert_eq!(BytesMut::new().fill_from(b"none"), 0);
        // `Bytes` has a `slice` of its own, which is as good.
        let hello = Bytes::from_static(b"hello world");
        assert_eq!(Bytes::slice(&hello, 6..).buf_slice(), b"world");
        let slice: Slice<Bytes> = hello.slice(6..);
        assert_eq!((slice.buf_slice(), slice.get_ref().len()), (&b"world"[..], 11));
    }
}
