//! Connecting to whichever of several addresses answers first, RFC 8305.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::address::{ToSocketAddrs, no_address, resolve};
use super::builder::Configure;
use super::{TcpSocket, TcpStream};
use crate::time::{Sleep, sleep};

/// Between two attempts, as RFC 8305 recommends.
const STAGGER: Duration = Duration::from_millis(250);

/// Connects to whichever of several addresses answers first ("happy eyeballs", RFC 8305): a name often has addresses of both
/// families, of which one leads nowhere.
///
/// The families take turns, in the resolver's order, beginning with the family of the first address. The next attempt begins
/// when one has failed, or after 250 ms, while those before go on; the first that succeeds is the connection, and the others
/// are cancelled and closed. So a server may see a connection that ends at once.
/// [`TcpStream::connect`] tries one address after the other instead, as std and tokio do.
///
/// ```
/// # ringtoss::block_on(async {
/// # let listener = ringtoss::net::TcpListener::bind("127.0.0.1:0").await?;
/// # let port = listener.local_addr()?.port();
/// use ringtoss::net::HappyEyeballs;
///
/// let stream = HappyEyeballs::new().configure(|socket| socket.set_nodelay(true)).connect(("localhost", port)).await?;
/// assert!(stream.nodelay()?);
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
pub struct HappyEyeballs {
    stagger: Duration,
    configure: Option<Configure<TcpSocket>>,
}

impl HappyEyeballs {
    /// With 250 ms between two attempts.
    pub fn new() -> HappyEyeballs {
        HappyEyeballs { stagger: STAGGER, configure: None }
    }

    /// With another time between two attempts; RFC 8305 wants no less than 10 ms, so that a network is not flooded.
    #[must_use = "it is a builder"]
    pub fn stagger(mut self, time: Duration) -> HappyEyeballs {
        self.stagger = time;
        self
    }

    /// What is to be set on each of the sockets before it connects. An attempt for which this fails counts as failed.
    #[must_use = "it is a builder"]
    pub fn configure(mut self, with: impl Fn(&TcpSocket) -> io::Result<()> + Send + Sync + 'static) -> HappyEyeballs {
        self.configure = Some(Box::new(with));
        self
    }

    /// Connects: `IORING_OP_CONNECT`, `connect(2)`. Bound it with [`time::timeout`](crate::time::timeout()); dropped, all
    /// attempts are cancelled and closed.
    ///
    /// # Errors
    /// That of the attempt that failed last, when all have (`ConnectionRefused`, `TimedOut`, `NetworkUnreachable`, …), and
    /// those of [`lookup_host`](super::lookup_host).
    pub async fn connect<A: ToSocketAddrs>(&self, address: A) -> io::Result<TcpStream> {
        let mut race = Race {
            waiting: interleaved(resolve(&address).await?),
            attempts: Vec::new(),
            stagger: self.stagger,
            next: None,
            last: None,
        };
        poll_fn(|cx| race.poll(cx, |address| self.attempt(address))).await
    }

    async fn attempt(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = TcpSocket::for_address(&address)?;
        if let Some(configure) = &self.configure {
            configure(&socket)?;
        }
        socket.connect(address).await
    }
}

impl Default for HappyEyeballs {
    fn default() -> HappyEyeballs {
        HappyEyeballs::new()
    }
}

impl fmt::Debug for HappyEyeballs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HappyEyeballs").field("stagger", &self.stagger).finish_non_exhaustive()
    }
}

/// The families by turns, each in its order, beginning with that of the first address.
fn interleaved(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|a| a.is_ipv4() == first_is_v4);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut all = VecDeque::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return all;
        }
        all.extend(pair.into_iter().flatten());
    }
}

struct Race<F> {
    waiting: VecDeque<SocketAddr>,
    attempts: Vec<Pin<Box<F>>>,
    stagger: Duration,
    /// When the next attempt begins, if those under way have not failed before.
    next: Option<Sleep>,
    last: Option<io::Error>,
}

impl<F: Future<Output = io::Result<TcpStream>>> Race<F> {
    fn poll(&mut self, cx: &mut Context<'_>, attempt: impl Fn(SocketAddr) -> F) -> Poll<io::Result<TcpStream>> {
        loop {
            let before = self.attempts.len();
            let mut index = 0;
            while let Some(running) = self.attempts.get_mut(index) {
                match running.as_mut().poll(cx) {
                    // The others go with the race, and so are cancelled and closed.
                    Poll::Ready(Ok(stream)) => return Poll::Ready(Ok(stream)),
                    Poll::Ready(Err(error)) => {
                        self.last = Some(error);
                        drop(self.attempts.remove(index));
                    }
                    Poll::Pending => index += 1,
                }
            }
            let failed = self.attempts.len() < before;
            let due = self.next.as_mut().is_some_and(|next| Pin::new(next).poll(cx).is_ready());
            if !self.attempts.is_empty() && !failed && !due {
                return Poll::Pending;
            }
            match self.waiting.pop_front() {
                Some(address) => {
                    self.attempts.push(Box::pin(attempt(address)));
                    self.next = (!self.waiting.is_empty()).then(|| sleep(self.stagger));
                }
                None if self.attempts.is_empty() => {
                    return Poll::Ready(Err(self.last.take().unwrap_or_else(no_address)));
                }
                None => {
                    self.next = None;
                    return Poll::Pending;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let addresses = |text: &str| text.split(' ').map(|a| a.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let v6_first = addresses("[::1]:1 [::2]:1 [::3]:1 1.1.1.1:1 2.2.2.2:1");
        assert_eq!(interleaved(v6_first), addresses("[::1]:1 1.1.1.1:1 [::2]:1 2.2.2.2:1 [::3]:1"));
        let v4_first = addresses("1.1.1.1:1 [::1]:1 [::2]:1");
        assert_eq!(interleaved(v4_first), addresses("1.1.1.1:1 [::1]:1 [::2]:1"));
        assert_eq!(interleaved(addresses("1.1.1.1:1 2.2.2.2:1")), addresses("1.1.1.1:1 2.2.2.2:1"));
        assert!(interleaved(Vec::new()).is_empty());
    }
}
