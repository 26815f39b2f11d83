//! What an object has found out about itself, for its clones, too. It is of no other memory's concern, and no lock is taken.

use std::sync::atomic::Ordering;

use super::Salvage;

impl Salvage {
    /// Whether sending without copying is of no use here.
    pub(crate) fn copies(&self) -> bool {
        self.copies.load(Ordering::Relaxed)
    }

    pub(crate) fn note_copies(&self) {
        self.copies.store(true, Ordering::Relaxed);
    }

    /// Whether its device cannot be polled.
    pub(crate) fn is_polling_refused(&self) -> bool {
        self.polling_refused.load(Ordering::Relaxed)
    }

    pub(crate) fn refuse_polling(&self) {
        self.polling_refused.store(true, Ordering::Relaxed);
    }

    /// It is to be tried again.
    pub(crate) fn allow_polling(&self) {
        self.polling_refused.store(false, Ordering::Relaxed);
    }
}
