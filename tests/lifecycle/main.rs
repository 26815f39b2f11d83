//! What happens to operations, tasks and loops in the cases that go wrong elsewhere: drops at every moment, ends, panics,
//! crowds, wakes from other threads.
#![allow(unsafe_code, reason = "buffers that count, raw submissions")]
#![allow(clippy::async_yields_async, reason = "operations leave their loop")]

mod breaking;
mod crowd;
mod descriptors;
mod drops;
mod ends;
mod hostile;
mod tasks;
mod turns;
mod util;
mod waiting;
