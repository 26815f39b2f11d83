//! Values that belong to a future and what it calls: `task_local!`, with tokio's names and meaning.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::marker::PhantomPinned;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;

/// Declares keys of values that belong to a future: see [`LocalKey`](crate::task::LocalKey).
///
/// ```
/// ringtoss::task_local! {
///     pub static REQUEST: u64;
///     static USER: String;
/// }
///
/// async fn log(line: &str) -> String {
///     format!("{} {}: {line}", REQUEST.get(), USER.with(String::clone))
/// }
///
/// let line = ringtoss::block_on(REQUEST.scope(7, USER.scope("ann".into(), log("hello"))));
/// assert_eq!(line, "7 ann: hello");
/// ```
#[macro_export]
macro_rules! task_local {
    () => {};
    ($($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty);+ $(;)?) => {$(
        $(#[$attribute])*
        $visibility static $name: $crate::task::LocalKey<$type> = {
            ::std::thread_local! {
                static KEY: ::std::cell::RefCell<::std::option::Option<$type>> = const {
                    ::std::cell::RefCell::new(::std::option::Option::None)
                };
            }
            $crate::task::LocalKey::__new(&KEY)
        };
    )+};
}

/// A key, declared with [`task_local!`](crate::task_local), of a value that belongs to a future: it is set by
/// [`scope`](LocalKey::scope), and seen by that future and what it calls, whichever thread polls it, and nobody else. A task
/// that is spawned from there does not see it.
pub struct LocalKey<T: 'static> {
    inner: &'static thread::LocalKey<RefCell<Option<T>>>,
}

impl<T: 'static> LocalKey<T> {
    /// For the macro.
    #[doc(hidden)]
    pub const fn __new(inner: &'static thread::LocalKey<RefCell<Option<T>>>) -> LocalKey<T> {
        LocalKey { inner }
    }

    /// A future that has the value, which it sees through the key while it is polled, and while it is dropped.
    ///
    /// Dropped early, the value is dropped with the future, after it.
    pub fn scope<F: Future>(&'static self, value: T, future: F) -> TaskLocalFuture<T, F> {
        TaskLocalFuture { key: self, value: Some(value), future: Some(future), _pinned: PhantomPinned }
    }

    /// Calls the function with the value.
    ///
    /// # Panics
    /// Inside of [`with`](LocalKey::with) of the same key.
    #[track_caller]
    pub fn sync_scope<F: FnOnce() -> R, R>(&'static self, value: T, function: F) -> R {
        let mut value = Some(value);
        match self.enter(&mut value, function) {
            Ok(output) => output,
            Err(refusal) => refusal.panic(),
        }
    }

    /// Exchanges the thread's value for this one while the function runs.
    fn enter<R>(&'static self, value: &mut Option<T>, function: impl FnOnce() -> R) -> Result<R, Refusal> {
        struct Entered<'a, T: 'static> {
            key: &'static LocalKey<T>,
            value: &'a mut Option<T>,
        }
        impl<T: 'static> Drop for Entered<'_, T> {
            fn drop(&mut self) {
                // As it was possible a moment ago, and what was borrowed since has been given back, it is possible.
                self.key.inner.with(|inner| mem::swap(self.value, &mut *inner.borrow_mut()));
            }
        }
        self.inner
            .try_with(|inner| inner.try_borrow_mut().map(|mut inner| mem::swap(value, &mut *inner)))
            .map_err(|_| Refusal::ThreadEnds)?
            .map_err(|_| Refusal::Borrowed)?;
        let _entered = Entered { key: self, value };
        Ok(function())
    }

    /// Calls the function with the value.
    ///
    /// # Panics
    /// Where there is none.
    #[track_caller]
    pub fn with<F: FnOnce(&T) -> R, R>(&'static self, function: F) -> R {
        match self.try_with(function) {
            Ok(output) => output,
            Err(_) => panic!("cannot access a task-local storage value without setting it first"),
        }
    }

    /// Calls the function with the value, if there is one.
    ///
    /// # Errors
    /// Where there is none.
    pub fn try_with<F: FnOnce(&T) -> R, R>(&'static self, function: F) -> Result<R, AccessError> {
        let call = |inner: &RefCell<Option<T>>| inner.borrow().as_ref().map(function);
        self.inner.try_with(call).ok().flatten().ok_or(AccessError(()))
    }

    /// A copy of the value.
    ///
    /// # Panics
    /// Where there is none.
    #[track_caller]
    pub fn get(&'static self) -> T
    where
        T: Clone,
    {
        self.with(T::clone)
    }

    /// A copy of the value, if there is one.
    ///
    /// # Errors
    /// Where there is none.
    pub fn try_get(&'static self) -> Result<T, AccessError>
    where
        T: Clone,
    {
        self.try_with(T::clone)
    }
}

impl<T: 'static> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalKey { .. }")
    }
}

/// Why a value cannot be set.
enum Refusal {
    Borrowed,
    ThreadEnds,
}

impl Refusal {
    #[track_caller]
    fn panic(self) -> ! {
        match self {
            Refusal::Borrowed => panic!("cannot enter a task-local scope while the task-local storage is borrowed"),
            Refusal::ThreadEnds => {
                panic!("cannot enter a task-local scope during or after destruction of the underlying thread-local")
            }
        }
    }
}

/// A task-local value was asked for where there is none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AccessError(());

impl fmt::Debug for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessError")
    }
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("task-local value not set")
    }
}

impl Error for AccessError {}

/// A future with a value of its own, made by [`LocalKey::scope`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct TaskLocalFuture<T: 'static, F> {
    key: &'static LocalKey<T>,
    /// `None` while the future is polled, and once it was taken.
    value: Option<T>,
    /// Pinned. `None` once it has ended.
    future: Option<F>,
    _pinned: PhantomPinned,
}

impl<T: 'static, F> TaskLocalFuture<T, F> {
    /// The parts; the future stays pinned.
    fn project(self: Pin<&mut Self>) -> (&'static LocalKey<T>, &mut Option<T>, Pin<&mut Option<F>>) {
        // SAFETY: nothing is moved out of the future, which is pinned here as it is everywhere, and dropped in place; the
        // value is never pinned. The type is not `Unpin`, and has no other `Drop` than one that keeps to this.
        unsafe {
            let this = self.get_unchecked_mut();
            (this.key, &mut this.value, Pin::new_unchecked(&mut this.future))
        }
    }

    /// The value, out of the future, which has none from here on. `None` if it was taken, or while it is polled.
    pub fn take_value(self: Pin<&mut Self>) -> Option<T> {
        self.project().1.take()
    }
}

impl<T: 'static, F: Future> Future for TaskLocalFuture<T, F> {
    type Output = F::Output;

    /// # Panics
    /// After the end; inside of [`LocalKey::with`] of the same key.
    #[track_caller]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let (key, value, mut future) = self.project();
        let polled = key.enter(value, || {
            let polled = future.as_mut().as_pin_mut()?.poll(cx);
            if polled.is_ready() {
                future.set(None);
            }
            Some(polled)
        });
        match polled {
            Ok(Some(polled)) => polled,
            Ok(None) => panic!("`TaskLocalFuture` polled after completion"),
            Err(refusal) => refusal.panic(),
        }
    }
}

impl<T: 'static, F> Drop for TaskLocalFuture<T, F> {
    fn drop(&mut self) {
        // SAFETY: it is not moved any more: this is its drop.
        let this = unsafe { Pin::new_unchecked(self) };
        let (key, value, mut future) = this.project();
        if future.is_some() {
            // Where the value cannot be set, the future is dropped without it, with the rest.
            let _ = key.enter(value, || future.set(None));
        }
    }
}

impl<T: 'static + fmt::Debug, F> fmt::Debug for TaskLocalFuture<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskLocalFuture").field("value", &self.value).finish_non_exhaustive()
    }
}
