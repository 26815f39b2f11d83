//! Readers made of readers.

use super::Read;
use super::read::no_capacity;
use crate::buf::{BufResult, IoBufExt, IoBufMut, IoBufMutExt};

/// Made by [`Read::chain`].
#[derive(Clone, Debug)]
pub struct Chain<A, B> {
    first: A,
    second: B,
    first_ended: bool,
}

impl<A, B> Chain<A, B> {
    pub(super) fn new(first: A, second: B) -> Chain<A, B> {
        Chain { first, second, first_ended: false }
    }

    /// The two readers.
    pub fn into_inner(self) -> (A, B) {
        (self.first, self.second)
    }

    /// The two readers.
    pub fn get_ref(&self) -> (&A, &B) {
        (&self.first, &self.second)
    }

    /// The two readers. Which of them comes next is decided already.
    pub fn get_mut(&mut self) -> (&mut A, &mut B) {
        (&mut self.first, &mut self.second)
    }
}

impl<A: Read, B: Read> Read for Chain<A, B> {
    async fn read<T: IoBufMut + Send>(&mut self, mut buf: T) -> BufResult<usize, T> {
        if !self.first_ended {
            let result;
            (result, buf) = self.first.read(buf).await;
            if !matches!(result, Ok(0)) {
                return (result, buf);
            }
            self.first_ended = true;
        }
        self.second.read(buf).await
    }
}

/// Made by [`Read::take`].
#[derive(Clone, Debug)]
pub struct Take<R> {
    inner: R,
    limit: u64,
}

impl<R> Take<R> {
    pub(super) fn new(inner: R, limit: u64) -> Take<R> {
        Take { inner, limit }
    }

    /// Bytes that may be read until it ends.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Sets how many bytes may be read until it ends.
    pub fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// The reader.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// The reader.
    pub fn get_ref(&self) -> &R {
        &self.inner
    }

    /// The reader. What is read from it directly does not count.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.inner
    }
}

impl<R: Read> Read for Take<R> {
    async fn read<B: IoBufMut + Send>(&mut self, mut buf: B) -> BufResult<usize, B> {
        if buf.buf_capacity() == 0 {
            return (Err(no_capacity()), buf);
        }
        if self.limit == 0 {
            buf.fill_from(&[]);
            return (Ok(0), buf);
        }
        let most = usize::try_from(self.limit).unwrap_or(usize::MAX).min(buf.buf_capacity());
        let (result, slice) = self.inner.read(buf.slice(..most)).await;
        if let Ok(count) = result {
            self.limit -= count as u64;
        }
        (result, slice.into_inner())
    }
}
