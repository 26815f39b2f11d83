//! Memory for what the kernel reads while it takes an entry, and not after: iovecs, addresses, message headers.

use std::mem::{self, MaybeUninit};
use std::os::fd::RawFd;

use super::message::Cells;
use crate::sys::Pointed;

/// Bytes of a chunk; larger requests get one of their own.
const CHUNK_BYTES: usize = 4096;

/// Inputs of the entries that are staged. They stay where they are until all of these have been taken by the kernel
/// (`IORING_FEAT_SUBMIT_STABLE`); then the memory is used again. Opaque outside this crate.
#[derive(Default)]
pub struct Arena {
    chunks: Vec<Pointed<MaybeUninit<u64>>>,
    /// The chunk that is being filled, and how many words of it are.
    chunk: usize,
    used: usize,
    /// Memory that stays with an operation until its end.
    pub(crate) cells: Cells,
    /// Whose entries these are: registered buffers have an index on each loop.
    pub(crate) loop_id: u64,
    /// Where the entry that was prepared last is staged, if a call of its own may do its work (see `attempt`), or 0.
    pub(crate) by_call: usize,
    /// The number of the file, where that is a read's: its entry may name it by its place in the table.
    pub(crate) file: RawFd,
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arena").field("chunks", &self.chunks.len()).finish_non_exhaustive()
    }
}

impl Arena {
    /// Room for so many values, all of them written by `fill`. Gives the address for the entry.
    pub(crate) fn array<T: Copy>(&mut self, count: usize, mut fill: impl FnMut(usize) -> T) -> u64 {
        const { assert!(align_of::<T>() <= align_of::<u64>()) };
        let words = (count * size_of::<T>()).div_ceil(size_of::<u64>()).max(1);
        let start = self.words(words).cast::<T>();
        for index in 0..count {
            // SAFETY: `words` gave room for `count` values at an address aligned for them, exclusively ours.
            unsafe { start.add(index).write(fill(index)) };
        }
        start as u64
    }

    /// Keeps one value.
    pub(crate) fn store<T: Copy>(&mut self, value: T) -> u64 {
        self.array(1, |_| value)
    }

    /// Room for so many words, that nobody else uses until the reset.
    fn words(&mut self, words: usize) -> *mut MaybeUninit<u64> {
        while self.chunks.get(self.chunk).is_some_and(|chunk| chunk.len() - self.used < words) {
            self.chunk += 1;
            self.used = 0;
        }
        if self.chunk == self.chunks.len() {
            let len = words.max(CHUNK_BYTES / mem::size_of::<u64>());
            self.chunks.push(Pointed::new(Box::new_uninit_slice(len)));
        }
        let start = self.used;
        self.used += words;
        let chunk = &self.chunks[self.chunk];
        assert!(self.used <= chunk.len());
        // SAFETY: within the chunk, as has been checked.
        unsafe { chunk.start().as_ptr().add(start) }
    }

    /// Whether so much is kept that it is time for a reset.
    pub(crate) fn is_large(&self) -> bool {
        self.chunk >= 16
    }

    /// Everything that was kept may be overwritten: the kernel has taken it.
    #[inline]
    pub(crate) fn reset(&mut self) {
        self.by_call = 0;
        if self.chunk | self.used == 0 {
            return;
        }
        // What a burst of large vectors needed is not kept for ever.
        self.chunks.truncate(4);
        self.chunks.retain(|chunk| chunk.len() <= CHUNK_BYTES / mem::size_of::<u64>());
        (self.chunk, self.used) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_stays_put_until_the_reset() {
        let mut arena = Arena::default();
        let mut kept = Vec::new();
        for round in 0..2000u64 {
            let count = (round % 97 + 1) as usize;
            kept.push((arena.array(count, |index| round * 1000 + index as u64), round, count));
        }
        kept.push((arena.array(10_000, |index| index as u64), 0, 10_000));
        for (address, round, count) in kept {
            for index in 0..count {
                // SAFETY: the arena has not been reset, so the words are there.
                let value = unsafe { *(address as *const u64).add(index) };
                assert_eq!(value, round * 1000 + index as u64);
            }
        }
        arena.reset();
        assert!(arena.chunks.len() <= 4);
        assert_ne!(arena.store(7u8), 0);
    }
}
