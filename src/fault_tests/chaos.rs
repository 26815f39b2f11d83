//! Random programs: what may be done to an operation, in any order, with a model of what must come of it.

use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Waker};

use super::*;
use crate::CancellationToken;

/// xorshift64*.
pub(super) struct Random(pub u64);

impl Random {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

/// Polls once where no loop runs, on a thread of its own, and gives back what is not done.
fn poll_on_a_thread<F: Future + Send + Unpin>(mut future: F) -> Result<F::Output, F>
where
    F::Output: Send,
{
    std::thread::scope(|scope| {
        let polled =
            scope.spawn(move || match std::pin::Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(output) => Ok(output),
                Poll::Pending => Err(future),
            });
        polled.join().unwrap()
    })
}

/// Does something to an operation. `None`: it was dropped, at whatever moment.
pub(super) async fn do_something<O>(random: &mut Random, mut operation: op::Operation<'_, O>) -> Option<O::Output>
where
    O: op::Op + Send + Unpin,
    O::Output: Send,
{
    let polls = random.below(4);
    match random.below(9) {
        0 | 1 => Some(operation.await),
        2 => poll_times(operation, polls).await,
        3 => poll_times(operation.timeout(Duration::ZERO), polls * 8).await,
        4 => {
            let token = CancellationToken::new();
            let limited = operation.cancel_on(&token);
            if polls < 2 {
                token.cancel();
            }
            poll_times(limited, polls * 8).await
        }
        5 => {
            if let Some(output) = poll_times(&mut operation, polls).await {
                return Some(output);
            }
            Some(operation.cancel().await)
        }
        6 => {
            if let Some(output) = poll_times(&mut operation, 1 + polls).await {
                return Some(output);
            }
            std::thread::scope(|scope| scope.spawn(move || drop(operation)).join().unwrap());
            None
        }
        7 => {
            if let Some(output) = poll_times(&mut operation, 1 + polls).await {
                return Some(output);
            }
            // Watched from elsewhere, and then awaited here again, or dropped, here or there.
            let mut operation = match poll_on_a_thread(operation) {
                Ok(output) => return Some(output),
                Err(operation) => operation,
            };
            match random.below(3) {
                0 => Some(operation.await),
                1 => poll_times(&mut operation, polls).await,
                _ => {
                    std::thread::scope(|scope| scope.spawn(move || drop(operation)).join().unwrap());
                    None
                }
            }
        }
        _ => {
            let mut limit = pin!(time::sleep(Duration::from_micros(polls as u64 * 20)));
            poll_fn(|cx| {
                if let Poll::Ready(output) = std::pin::Pin::new(&mut operation).poll(cx) {
                    return Poll::Ready(Some(output));
                }
                limit.as_mut().poll(cx).map(|()| None)
            })
            .await
        }
    }
}

async fn send(mut random: Random, mut stream: TcpStream, total: usize, alive: Arc<AtomicUsize>) {
    let mut at = 0;
    while at < total {
        let end = (at + 1 + random.below(600)).min(total);
        let buf = Counted::new((at..end).map(pattern).collect(), &alive);
        let done = match random.below(4) {
            0 | 1 => {
                let write = stream.write(buf);
                do_something(&mut random, write).await.map(|(result, _)| result)
            }
            2 => {
                let write = stream.write_all(buf);
                let output = do_something(&mut random, write).await;
                output.map(|(result, _)| result.map(|()| end - at))
            }
            _ => {
                let chain = op::nop().link(stream.write_all(buf)).link(op::nop()).hardlink(op::nop());
                let output = do_something(&mut random, chain).await;
                output.map(|(_, (result, _), ..)| result.map(|()| end - at))
            }
        };
        at += match done {
            Some(Ok(count)) => count,
            Some(Err(error)) => op::transferred(&error).unwrap_or(0),
            None => match stream.take_dropped_write().await {
                Some(fate) => fate.unwrap(),
                None => 0,
            },
        };
        assert!(at <= end, "more was taken than there was");
        if random.below(40) == 0 {
            stream = TcpStream::from_std(stream.into_std().unwrap());
        }
    }
    match random.below(4) {
        0 => drop(stream),
        1 => stream.close().await.unwrap(),
        2 => stream.shutdown(std::net::Shutdown::Write).await.unwrap(),
        _ => drop(stream.into_split()),
    }
}

async fn receive(mut random: Random, mut stream: TcpStream, total: usize, alive: Arc<AtomicUsize>) {
    let mut at = 0;
    let check = |bytes: &[u8], at: usize| {
        let right = bytes.iter().enumerate().all(|(index, &byte)| byte == pattern(at + index));
        assert!(right, "wrong bytes at {at}");
    };
    while at < total {
        let capacity = 1 + random.below(500);
        let buf = Counted::new(Vec::with_capacity(capacity), &alive);
        let mut consumed = None;
        match random.below(6) {
            0 => {
                let peek = stream.peek(buf);
                if let Some((Ok(_), buf)) = do_something(&mut random, peek).await {
                    check(&buf.bytes, at);
                }
            }
            1 => {
                let readable = stream.readable();
                let _ = do_something(&mut random, readable).await;
            }
            2 => {
                let read = stream.read_exact(buf, capacity.min(total - at));
                consumed = do_something(&mut random, read).await.map(|(result, buf)| (result.map(drop), buf));
            }
            way => {
                let output = if way == 3 {
                    let chain = op::nop().hardlink(stream.read(buf)).link(op::nop());
                    do_something(&mut random, chain).await.map(|(_, read, _)| read)
                } else {
                    let read = stream.read(buf);
                    do_something(&mut random, read).await
                };
                consumed = output.map(|(result, buf)| {
                    let result = result.map(|count| assert_ne!(count, 0, "the end came early, at {at}"));
                    (result, buf)
                });
            }
        }
        if let Some((result, buf)) = consumed {
            if let Err(error) = result {
                let expected = [std::io::ErrorKind::TimedOut, std::io::ErrorKind::UnexpectedEof];
                if !expected.contains(&error.kind()) {
                    assert_injected(&error);
                }
            }
            // What had come is in the buffer, whatever the result says.
            check(&buf.bytes, at);
            at += buf.bytes.len();
        }
        if random.below(40) == 0 {
            match stream.into_parts() {
                Ok((std, unread)) => {
                    check(&unread, at);
                    at += unread.len();
                    stream = TcpStream::from_std(std);
                }
                Err(failure) => stream = failure.into_inner(),
            }
        }
    }
    assert_eq!(at, total);
    loop {
        match stream.read(Counted::new(Vec::with_capacity(8), &alive)).await.0 {
            Ok(count) => break assert_eq!(count, 0),
            Err(error) => assert_injected(&error),
        }
    }
}

/// A pair of ends; the accept is dropped now and then.
pub(super) async fn connect(random: &mut Random) -> (TcpStream, TcpStream) {
    // Addresses of their own: those that were used are kept for a minute (`TIME_WAIT`), and one has not ports enough for that.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let [.., high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let listener = TcpListener::bind((std::net::Ipv4Addr::new(127, 1, high, low), 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let connecting = crate::spawn(TcpStream::connect(address));
    let accepted = loop {
        let accept = listener.accept();
        if let Some(Ok((stream, _))) = do_something(random, accept).await {
            break stream;
        }
    };
    (accepted, connecting.await.unwrap().unwrap())
}

/// Streams, tasks that are aborted, and operations that are forgotten. Gives how many buffers those have leaked.
pub(super) async fn chaos(seed: u64, alive: Arc<AtomicUsize>) -> usize {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut streams = Vec::new();
    for _ in 0..2 {
        let total = 2000 + random.below(6000);
        let (one, other) = connect(&mut random).await;
        let seeds = (random.below(1 << 30) as u64 | 1, random.below(1 << 30) as u64 | 1);
        streams.push(crate::spawn(send(Random(seeds.0), one, total, alive.clone())));
        streams.push(crate::spawn(receive(Random(seeds.1), other, total, alive.clone())));
    }
    let mut forgotten = 0;
    for _ in 0..10 {
        let (one, _other) = connect(&mut random).await;
        let (polls, alive) = (random.below(4), alive.clone());
        let mut one = one;
        let reading = crate::spawn(async move { one.read(Counted::new(vec![0; 8], &alive)).await.0 });
        for _ in 0..polls {
            crate::yield_now().await;
        }
        match random.below(3) {
            0 => reading.abort(),
            1 => {
                reading.abort();
                // It may have ended before.
                let ended = reading.await;
                assert!(ended.is_ok() || ended.is_err_and(|error| error.is_cancelled()));
            }
            _ => drop(reading.abort_handle()),
        }
    }
    let file = File::from(tempfile::tempfile().unwrap());
    for _ in 0..random.below(5) {
        let mut read = Box::pin(file.read_at(Counted::new(Vec::with_capacity(64), &alive), 0));
        if poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await.is_pending() {
            std::mem::forget(read);
            forgotten += 1;
        }
    }
    // More in flight than the completion queue holds.
    let mut crowd: Vec<_> = (0..random.below(200)).map(|_| op::nop()).collect();
    poll_fn(|cx| {
        crowd.retain_mut(|nop| std::pin::Pin::new(nop).poll(cx).is_pending());
        if crowd.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    for task in streams {
        task.await.unwrap();
    }
    forgotten
}
