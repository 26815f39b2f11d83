//! Buffers for work on files: whole pages, as `O_DIRECT` wants them.

/// What the work does with a buffer. It is full or not, and bears a number in its first bytes, by which blocks are told
/// apart.
pub trait Buffer: 'static {
    /// Fills it, and puts a number into its start.
    fn stamp(&mut self, number: u64);
    /// The number in its start.
    fn stamped(&self) -> u64;
}

pub const PAGE_BYTES: usize = 4096;

#[derive(Clone)]
#[repr(C, align(4096))]
struct Page([u8; PAGE_BYTES]);

/// A buffer of pages, all of whose bytes have been initialised. A read may use all of them, from the start, and leaves in
/// `len` how many it has read.
pub struct Block {
    pages: Vec<Page>,
    len: usize,
}

#[allow(dead_code, reason = "some is for peers, which may be left out")]
impl Block {
    /// A full one, of a multiple of the page's size.
    pub fn new(bytes: usize) -> Block {
        assert!(bytes.is_multiple_of(PAGE_BYTES), "whole pages");
        Block { pages: vec![Page([0; PAGE_BYTES]); bytes / PAGE_BYTES], len: bytes }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn capacity(&self) -> usize {
        self.pages.len() * PAGE_BYTES
    }

    pub fn as_ptr(&self) -> *const u8 {
        self.pages.as_ptr().cast()
    }

    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.pages.as_mut_ptr().cast()
    }

    /// The first `len` bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: all of its bytes are initialised, and `len` is at most as many.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len) }
    }

    /// All of it, to read into.
    pub fn whole(&mut self) -> &mut [u8] {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr(), self.capacity()) }
    }

    pub fn set_len(&mut self, len: usize) {
        assert!(len <= self.capacity(), "no more than there is");
        self.len = len;
    }
}

impl Buffer for Block {
    fn stamp(&mut self, number: u64) {
        self.len = self.capacity();
        self.whole()[..8].copy_from_slice(&number.to_ne_bytes());
    }

    fn stamped(&self) -> u64 {
        u64::from_ne_bytes(self.bytes()[..8].try_into().expect("eight bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_and_bear_a_number() {
        let mut block = Block::new(8192);
        assert_eq!((block.as_ptr() as usize % PAGE_BYTES, block.len(), block.capacity()), (0, 8192, 8192));
        block.set_len(16);
        block.stamp(77);
        assert_eq!((block.stamped(), block.len()), (77, 8192));
    }
}
