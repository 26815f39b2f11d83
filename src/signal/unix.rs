//! Every kind of signal.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::bell::{self, Bell};
use crate::op::{self, Operation, PollAdd};
use crate::sys::signal::signals;
use crate::time::{Sleep, sleep};

/// How long to wait for a descriptor where there are none.
const PAUSE: Duration = Duration::from_millis(20);

/// A kind of signal, see `signal(7)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignalKind(libc::c_int);

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $number:ident;)*) => {
        impl SignalKind {$(
            $(#[$doc])*
            pub const fn $name() -> SignalKind {
                SignalKind(libc::$number)
            }
        )*}
    };
}

kinds! {
    /// `SIGALRM`: a timer of the process has expired. Ends the process by default.
    alarm SIGALRM;
    /// `SIGCHLD`: the state of a child process has changed. Ignored by default.
    child SIGCHLD;
    /// `SIGHUP`: the terminal was closed; by custom, daemons read their configuration again. Ends the process by
    /// default.
    hangup SIGHUP;
    /// `SIGINT`: ctrl-c. Ends the process by default.
    interrupt SIGINT;
    /// `SIGIO`: I/O is possible. Ends the process by default.
    io SIGIO;
    /// `SIGPIPE`: a pipe without readers was written to. Rust programs ignore it.
    pipe SIGPIPE;
    /// `SIGQUIT`: ctrl-\. Ends the process with a core dump by default.
    quit SIGQUIT;
    /// `SIGTERM`: the polite request to end. Ends the process by default.
    terminate SIGTERM;
    /// `SIGUSR1`. Ends the process by default.
    user_defined1 SIGUSR1;
    /// `SIGUSR2`. Ends the process by default.
    user_defined2 SIGUSR2;
    /// `SIGWINCH`: the terminal has another size. Ignored by default.
    window_change SIGWINCH;
}

impl SignalKind {
    /// Any signal by its number, real-time signals too.
    pub const fn from_raw(signum: libc::c_int) -> SignalKind {
        SignalKind(signum)
    }

    /// The signal's number.
    pub const fn as_raw_value(&self) -> libc::c_int {
        self.0
    }

    /// Why a handler of ours must not be installed for it.
    fn refused(self) -> Option<&'static str> {
        match self.0 {
            libc::SIGKILL | libc::SIGSTOP => Some("SIGKILL and SIGSTOP cannot be caught"),
            libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE => {
                Some("a signal that tells of a fault: the program cannot go on after it as if it had been handled")
            }
            _ => None,
        }
    }
}

impl From<libc::c_int> for SignalKind {
    fn from(signum: libc::c_int) -> SignalKind {
        SignalKind(signum)
    }
}

impl From<SignalKind> for libc::c_int {
    fn from(kind: SignalKind) -> libc::c_int {
        kind.0
    }
}

/// Begins to listen for a kind of signal: `sigaction(2)`. Any number of listeners on any loops and threads may listen
/// for the same kind, and each is told. No loop needs to run here.
///
/// The first call for a kind installs a handler, which stays for the rest of the process's life, also when all
/// listeners are gone: the signal's default action (to end the process, most often) does not happen any more. A handler
/// that was there before is called as well, as it asked to be: on its stack, with its signals held back, with calls
/// restarted or not, once if once (`SA_RESETHAND`); and where children vanish by themselves (`SIGCHLD` was ignored)
/// they go on to. Code that installs a handler later without calling the one before ends all listening for that kind.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::signal::unix::{SignalKind, signal};
///
/// let mut hangups = signal(SignalKind::hangup())?;
/// # let raise = "kill -HUP $PPID";
/// # std::process::Command::new("sh").arg("-c").arg(raise).status()?;
/// // … somebody runs `kill -HUP` …
/// hangups.recv().await;
/// println!("read the configuration again");
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
///
/// # Errors
/// `InvalidInput` for what is no signal, for those that cannot be caught, and for those that tell of a fault
/// (`SIGSEGV`, …); that of `eventfd(2)` without descriptors.
pub fn signal(kind: SignalKind) -> io::Result<Signal> {
    if let Some(reason) = kind.refused() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    bell::install(kind.0)?;
    Ok(Signal { kind, seen: signals(kind.0), waits: None, pauses: None })
}

/// A listener for one kind of signal, made by [`signal`].
///
/// It is `Send` and `Sync` and may move between loops. Signals of one kind that come before they are asked for count as
/// one, as the kernel's own do. Dropping it ends this listening; the handler stays.
pub struct Signal {
    kind: SignalKind,
    /// How many there were when one was last told.
    seen: u64,
    waits: Option<Waits>,
    pauses: Option<Sleep>,
}

/// A poll that is in flight. It is kept when the future that waits is dropped, so that a `select!` in a loop does not
/// cancel and submit one each round.
struct Waits {
    operation: Operation<'static, PollAdd>,
    bell: Arc<Bell>,
    submitted: bool,
}

impl Signal {
    /// Waits for the next signal: `IORING_OP_POLL_ADD`. One that has come since the last call, or since [`signal`],
    /// counts. `None` on a loop that ends.
    ///
    /// Dropped early, nothing is consumed.
    ///
    /// # Panics
    /// Where no loop runs.
    pub async fn recv(&mut self) -> Option<()> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// [`recv`](Signal::recv) as a poll. The waker of the last call is woken. With it a listener becomes a stream:
    ///
    /// ```
    /// # ringtoss::block_on(async {
    /// use futures::{StreamExt, stream};
    /// use ringtoss::signal::unix::{SignalKind, signal};
    ///
    /// let mut windows = signal(SignalKind::window_change())?;
    /// # std::process::Command::new("sh").arg("-c").arg("kill -WINCH $PPID").status()?;
    /// let mut changes = stream::poll_fn(move |cx| windows.poll_recv(cx));
    /// assert_eq!(changes.next().await, Some(()));
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    ///
    /// # Panics
    /// As [`recv`](Signal::recv).
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        loop {
            // After the bell was taken, before it is waited for.
            let count = signals(self.kind.0);
            if count != self.seen {
                self.seen = count;
                self.waits = None;
                return Poll::Ready(Some(()));
            }
            if let Some(sleep) = &mut self.pauses {
                ready!(Pin::new(sleep).poll(cx));
                self.pauses = None;
            }
            match &mut self.waits {
                Some(waits) => {
                    let first = !std::mem::replace(&mut waits.submitted, true);
                    match ready!(Pin::new(&mut waits.operation).poll(cx)) {
                        Ok(()) => waits.bell.heard(),
                        Err(_) if first => return Poll::Ready(None),
                        // The loop that it was waited for on has ended; this may be another.
                        Err(_) => {}
                    }
                    self.waits = None;
                }
                None => match bell::bell(self.kind.0) {
                    Ok(bell) => {
                        let operation = op::poll_number(bell.eventfd());
                        self.waits = Some(Waits { operation, bell, submitted: false });
                    }
                    // No descriptor for a new bell, and old ones are held by others. That passes.
                    Err(_) => self.pauses = Some(sleep(PAUSE)),
                },
            }
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal").field("kind", &self.kind).finish_non_exhaustive()
    }
}

const _: () = {
    const fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<Signal>();
};
