//! Files, on the real kernel: success, failure and an early end of every operation.

mod attributes;
mod clones;
mod convert;
mod copy;
mod dir;
mod direct;
mod dropped_reads;
mod dropped_writes;
mod drops;
mod fifo;
mod locks;
mod metadata;
mod names;
mod open;
mod pipes;
mod positioned;
mod ranges;
mod read_dir;
mod registered;
mod remove_all;
mod sequential;
mod util;
mod whole;
mod xattrs;
