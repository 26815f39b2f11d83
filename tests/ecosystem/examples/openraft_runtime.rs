//! A runtime for openraft (`openraft-rt`) to copy: `type AsyncRuntime = RingtossRuntime` in `declare_raft_types!`.
//! `cargo run -p ringtoss-ecosystem --example openraft_runtime` runs openraft's own checks of it.

use std::fmt;
use std::future::Future;
use std::io;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::Duration;

use openraft_rt::testing::Suite;
use openraft_rt::{AsyncRuntime, OptionalSend};
use ringtoss::time::error::Elapsed;
use ringtoss::time::{self, Sleep, Timeout};
use ringtoss::{EventLoop, JoinError, JoinHandle};

/// A loop on the thread that makes it.
pub struct RingtossRuntime(EventLoop);

impl AsyncRuntime for RingtossRuntime {
    type JoinError = JoinError;
    type JoinHandle<T: OptionalSend + 'static> = JoinHandle<T>;
    type Sleep = Sleep;
    type Instant = Instant;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timeout<T>;
    type ThreadLocalRng = rand::rngs::ThreadRng;
    // tokio's channels and mutex know no runtime, and openraft has wrapped them already.
    type Mpsc = openraft_rt_tokio::TokioMpsc;
    type Watch = openraft_rt_tokio::TokioWatch;
    type Oneshot = openraft_rt_tokio::TokioOneshot;
    type Mutex<T: OptionalSend + 'static> = openraft_rt_tokio::TokioMutex<T>;

    fn spawn<T>(future: T) -> JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        ringtoss::spawn(future)
    }

    fn sleep(duration: Duration) -> Sleep {
        time::sleep(duration)
    }

    fn sleep_until(deadline: Instant) -> Sleep {
        time::sleep_until(deadline.0)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Timeout<F> {
        time::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Instant, future: F) -> Timeout<F> {
        time::timeout_at(deadline.0, future)
    }

    fn is_panic(error: &JoinError) -> bool {
        error.is_panic()
    }

    fn thread_rng() -> rand::rngs::ThreadRng {
        rand::rng()
    }

    /// The number of threads is one.
    ///
    /// # Panics
    /// If there is no ring to be had.
    fn new(_threads: usize) -> RingtossRuntime {
        RingtossRuntime(EventLoop::new().expect("a ring"))
    }

    fn block_on<F: Future<Output = T>, T>(&mut self, future: F) -> T {
        self.0.block_on(future)
    }

    fn spawn_blocking<F, T>(job: F) -> impl Future<Output = io::Result<T>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let job = ringtoss::spawn_blocking(job);
        async { job.await.map_err(io::Error::other) }
    }
}

impl fmt::Debug for RingtossRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingtossRuntime").finish_non_exhaustive()
    }
}

/// The loop's time, also while it is paused. (It is of this crate, because the trait is of another.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(time::Instant);

impl openraft_rt::Instant for Instant {
    fn now() -> Instant {
        Instant(time::Instant::now())
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, later: Duration) -> Instant {
        Instant(self.0 + later)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, later: Duration) {
        self.0 += later;
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;

    fn sub(self, earlier: Duration) -> Instant {
        Instant(self.0 - earlier)
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, earlier: Duration) {
        self.0 -= earlier;
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Instant) -> Duration {
        self.0 - earlier.0
    }
}

fn main() {
    Suite::<RingtossRuntime>::test_all();
    println!("all is well");
}
