//! Readers, writers, and what is built of them.

mod buffered;
mod copy;
mod generic;
mod helpers;
mod memory;
mod splice;
mod util;
