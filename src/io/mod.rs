//! L5: the process's own input and output.

mod stdio;

pub use stdio::{Stderr, Stdin, Stdout, stderr, stdin, stdout};
