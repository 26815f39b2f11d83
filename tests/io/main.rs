//! Readers, writers, and what is built of them.

mod buffered;
mod copy;
mod generic;
mod memory;
mod util;
