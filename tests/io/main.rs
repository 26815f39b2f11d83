//! Readers, writers, and what is built of them.

mod buffered;
#[cfg(feature = "bytes")]
mod bytes;
mod copy;
mod generic;
mod helpers;
mod memory;
mod splice;
mod util;
