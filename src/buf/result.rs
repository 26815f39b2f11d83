//! What an operation on an owned buffer gives.

use std::io;

/// The result of an operation, and the buffer, which comes back whatever happened.
pub type BufResult<T, B> = (io::Result<T>, B);

/// What makes the pair pleasant to use.
///
/// ```
/// use ringtoss::buf::{BufResult, BufResultExt};
/// fn done() -> BufResult<usize, Vec<u8>> { (Ok(3), b"abc".to_vec()) }
///
/// let (count, buf) = done().into_result()?;
/// assert_eq!((count, buf.len()), (3, 3));
/// assert_eq!(done().map(|count| count * 2).result()?, 6);
/// assert_eq!(done().buf(), b"abc");
/// # std::io::Result::Ok(())
/// ```
pub trait BufResultExt {
    /// What the operation gives on success.
    type Ok;
    /// The buffer.
    type Buf;

    /// The pair on success; the error alone otherwise, and the buffer is dropped. For use with `?`.
    ///
    /// # Errors
    /// The operation's.
    fn into_result(self) -> io::Result<(Self::Ok, Self::Buf)>;

    /// The same, with the buffer beside the error.
    ///
    /// # Errors
    /// The operation's.
    #[expect(clippy::type_complexity, reason = "two pairs; a name for either would have to be looked up")]
    fn transpose(self) -> Result<(Self::Ok, Self::Buf), (io::Error, Self::Buf)>;

    /// The result alone.
    ///
    /// # Errors
    /// The operation's.
    fn result(self) -> io::Result<Self::Ok>;

    /// The buffer alone.
    fn buf(self) -> Self::Buf;

    /// Changes what it gives on success.
    fn map<U>(self, f: impl FnOnce(Self::Ok) -> U) -> BufResult<U, Self::Buf>;

    /// Changes the buffer.
    fn map_buf<C>(self, f: impl FnOnce(Self::Buf) -> C) -> BufResult<Self::Ok, C>;
}

impl<T, B> BufResultExt for BufResult<T, B> {
    type Ok = T;
    type Buf = B;

    fn into_result(self) -> io::Result<(T, B)> {
        let (result, buf) = self;
        result.map(|value| (value, buf))
    }

    fn transpose(self) -> Result<(T, B), (io::Error, B)> {
        match self {
            (Ok(value), buf) => Ok((value, buf)),
            (Err(error), buf) => Err((error, buf)),
        }
    }

    fn result(self) -> io::Result<T> {
        self.0
    }

    fn buf(self) -> B {
        self.1
    }

    fn map<U>(self, f: impl FnOnce(T) -> U) -> BufResult<U, B> {
        (self.0.map(f), self.1)
    }

    fn map_buf<C>(self, f: impl FnOnce(B) -> C) -> BufResult<T, C> {
        (self.0, f(self.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_is_there_in_both_cases() {
        let good: BufResult<u8, &str> = (Ok(1), "buf");
        let bad: BufResult<u8, &str> = (Err(io::ErrorKind::NotFound.into()), "buf");
        assert_eq!(good.transpose().unwrap(), (1, "buf"));
        let (error, buf) = bad.transpose().unwrap_err();
        assert_eq!((error.kind(), buf), (io::ErrorKind::NotFound, "buf"));
    }
}
