//! What can go wrong with time.

use std::{error, fmt, io};

/// A [`timeout`](super::timeout()) ran out before its future was ready.
///
/// As an [`io::Error`] it is of the kind [`TimedOut`](io::ErrorKind::TimedOut), so `?` carries it out of functions
/// that return [`io::Result`].
///
/// # Examples
///
/// ```
/// use ringtoss::time::{self, Duration};
/// use std::io;
///
/// async fn hurried() -> io::Result<()> {
///     time::timeout(Duration::from_millis(1), std::future::pending()).await?
/// }
///
/// let error = ringtoss::block_on(hurried()).unwrap_err();
/// assert_eq!(error.kind(), io::ErrorKind::TimedOut);
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Elapsed(());

impl Elapsed {
    pub(crate) fn new() -> Self {
        Elapsed(())
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadline has elapsed")
    }
}

impl error::Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> Self {
        io::Error::new(io::ErrorKind::TimedOut, elapsed)
    }
}
