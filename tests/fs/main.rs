//! Files, on the real kernel: success, failure and an early end of every operation.

mod clones;
mod convert;
mod direct;
mod dropped_reads;
mod dropped_writes;
mod drops;
mod fifo;
mod metadata;
mod open;
mod pipes;
mod positioned;
mod sequential;
mod util;
mod whole;
