//! L4: giving an I/O object to std.

use std::error::Error;
use std::fmt;
use std::io;

/// A conversion that failed, with the object, which is as usable as before.
///
/// It turns into its [`io::Error`] with `?`; the object is dropped then.
pub struct ConvertError<T> {
    error: io::Error,
    object: T,
}

impl<T> ConvertError<T> {
    pub(crate) fn new(error: io::Error, object: T) -> ConvertError<T> {
        ConvertError { error, object }
    }

    /// Bytes were received that std would not see.
    pub(crate) fn unread(object: T) -> ConvertError<T> {
        ConvertError::kept(
            "a dropped read has received bytes that the converted object would not see: read them first, \
             or take them with into_parts",
            object,
        )
    }

    /// An error was met that std would not see.
    pub(crate) fn untold(object: T) -> ConvertError<T> {
        ConvertError::kept(
            "a dropped read has met an error that the converted object would not see: read until it comes out",
            object,
        )
    }

    /// A connection was accepted, or an error met, that std would not see.
    pub(crate) fn unaccepted(object: T) -> ConvertError<T> {
        ConvertError::kept(
            "a dropped accept has received a connection that the converted object would not see: accept it first",
            object,
        )
    }

    fn kept(reason: &'static str, object: T) -> ConvertError<T> {
        ConvertError { error: io::Error::new(io::ErrorKind::ResourceBusy, reason), object }
    }

    /// The same for what the object is a part of.
    pub(crate) fn map<U>(self, wrap: impl FnOnce(T) -> U) -> ConvertError<U> {
        ConvertError { error: self.error, object: wrap(self.object) }
    }

    /// Why it failed.
    pub fn error(&self) -> &io::Error {
        &self.error
    }

    /// The object.
    pub fn into_inner(self) -> T {
        self.object
    }
}

impl<T> fmt::Debug for ConvertError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConvertError").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for ConvertError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> Error for ConvertError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

impl<T> From<ConvertError<T>> for io::Error {
    fn from(failure: ConvertError<T>) -> io::Error {
        failure.error
    }
}
