//! Bytes on their way to a writer, of which none is lost or written twice, whenever the future that writes is dropped.
//!
//! A write owns its buffer, and a write that is dropped takes it along. So the bytes are shared with the write rather
//! than given to it, and what a dropped one has taken is asked of the writer before the next
//! ([`Write::take_dropped_write`]).

use std::io;
use std::sync::Arc;

use super::Write;
use super::write::takes_no_more;
use crate::buf::IoBufExt;

/// What is known of the last write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    /// There was none yet, but the writer may have something to tell of others.
    Before,
    No,
    /// It was dropped.
    Yes,
}

#[derive(Debug)]
pub(super) struct Outbox {
    bytes: Arc<Vec<u8>>,
    /// How many of them the writer has taken.
    done: usize,
    doubt: Doubt,
    /// Bytes that the writer has taken since the outbox was made.
    written: u64,
}

impl Outbox {
    pub(super) fn new() -> Outbox {
        Outbox { bytes: Arc::default(), done: 0, doubt: Doubt::Before, written: 0 }
    }

    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Whether it is not known what the last write has taken.
    pub(super) fn in_doubt(&self) -> bool {
        self.doubt == Doubt::Yes
    }

    /// What the writer has not taken, if there is no doubt.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.done..]
    }

    /// A vector to be filled, of an outbox from which everything is out.
    pub(super) fn take(&mut self) -> Vec<u8> {
        debug_assert!(self.rest().is_empty() && self.doubt != Doubt::Yes);
        self.done = 0;
        if let Some(bytes) = Arc::get_mut(&mut self.bytes) {
            let mut bytes = std::mem::take(bytes);
            bytes.clear();
            return bytes;
        }
        // A write that was dropped is about to let go of it.
        self.bytes = Arc::default();
        Vec::new()
    }

    /// Somebody else writes to the writer now.
    pub(super) fn stand_back(&mut self) {
        debug_assert_ne!(self.doubt, Doubt::Yes, "the writer would tell of the wrong write");
        self.doubt = Doubt::Before;
    }

    /// What is to be written next, in place of what was taken.
    pub(super) fn put(&mut self, bytes: Vec<u8>) {
        *Arc::get_mut(&mut self.bytes).expect("nothing was written since it was taken") = bytes;
    }

    fn note(&mut self, taken: usize) {
        let taken = taken.min(self.bytes.len() - self.done);
        self.done += taken;
        self.written += taken as u64;
    }

    /// Finds out what a dropped write has taken. Dropped itself, it can be called again.
    pub(super) async fn settle<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.doubt == Doubt::No {
            return Ok(());
        }
        let fate = writer.take_dropped_write().await;
        match std::mem::replace(&mut self.doubt, Doubt::No) {
            // Somebody else's write, before.
            Doubt::Before => Ok(()),
            _ => fate.unwrap_or(Ok(0)).map(|taken| self.note(taken)),
        }
    }

    /// Writes everything. Dropped or failed, it can be called again and goes on where it was.
    pub(super) async fn drain<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.settle(writer).await?;
        while self.done < self.bytes.len() {
            self.doubt = Doubt::Yes;
            let (result, slice) = writer.write(self.bytes.clone().slice(self.done..)).await;
            self.doubt = Doubt::No;
            drop(slice);
            match result {
                Ok(0) => return Err(takes_no_more()),
                Ok(count) => self.note(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
