//! A cancel at every point of an operation's life, for each kind, on a ring that is late and on one that is not.

use super::*;

/// Polls so often, then cancels. Gives what came of it.
async fn cancelled_after<O>(polls: usize, mut operation: op::Operation<'_, O>) -> O::Output
where
    O: op::Op + Unpin,
{
    match poll_times(&mut operation, polls).await {
        Some(output) => output,
        None => operation.cancel().await,
    }
}

fn is_fine(error: &std::io::Error) {
    let cancelled = error.raw_os_error() == Some(libc::ECANCELED) || error.kind() == std::io::ErrorKind::Interrupted;
    if !cancelled {
        assert_injected(error);
    }
}

async fn at_point(polls: usize, alive: &Arc<AtomicUsize>) {
    if let Err(error) = cancelled_after(polls, op::nop()).await {
        is_fine(&error);
    }
    // A byte that is there, or comes later, is read once.
    for early in [true, false] {
        let (mut reader, mut writer) = crate::net::UnixStream::pair().unwrap();
        if early {
            writer.write_all(vec![7u8]).await.0.unwrap();
        }
        let read = reader.read(Counted::new(Vec::with_capacity(8), alive));
        let (result, buf) = cancelled_after(polls, read).await;
        let mut got = buf.bytes.len();
        match result {
            Ok(count) => assert_eq!(count, got),
            Err(error) => is_fine(&error),
        }
        if !early {
            assert_eq!(got, 0);
            writer.write_all(vec![7u8]).await.0.unwrap();
        }
        while got == 0 {
            let (result, buf) = reader.read(Counted::new(Vec::with_capacity(8), alive)).await;
            if let Err(error) = result {
                assert_injected(&error);
            }
            got = buf.bytes.len();
        }
        assert_eq!(got, 1);
    }
    // A connection that is there is accepted once.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connecting = crate::spawn(TcpStream::connect(listener.local_addr().unwrap()));
    let mut accepted = match cancelled_after(polls, listener.accept()).await {
        Ok(accepted) => Some(accepted),
        Err(error) => {
            is_fine(&error);
            None
        }
    };
    while accepted.is_none() {
        match listener.accept().await {
            Ok(pair) => accepted = Some(pair),
            Err(error) => assert_injected(&error),
        }
    }
    drop(connecting.await.unwrap().unwrap());
    // A file is open or it is not; a write is made or it is not.
    let file = File::from(tempfile::tempfile().unwrap());
    let (result, _) = cancelled_after(polls, file.write_at(Counted::new(vec![5; 100], alive), 0)).await;
    let len = file.metadata().await.unwrap().len();
    match result {
        Ok(count) => assert_eq!(count as u64, len),
        Err(error) => is_fine(&error),
    }
    let (result, buf) = cancelled_after(polls, file.read_at(Counted::new(Vec::with_capacity(100), alive), 0)).await;
    match result {
        Ok(count) => assert!(count as u64 <= len && buf.bytes == vec![5; count]),
        Err(error) => is_fine(&error),
    }
}

#[test]
fn a_cancel_may_race_its_operation_at_every_point() {
    let lost = Faults { lost: 128, ..Faults::NONE };
    for (faults, seeds) in [(Faults::NONE, 1..3), (Faults::ALL, 3..8), (lost, 8..10)] {
        for seed in seeds {
            let alive = Arc::new(AtomicUsize::new(0));
            let event_loop = faulty_loop(seed, faults);
            event_loop.block_on(async {
                let all = async {
                    for polls in 0..14 {
                        at_point(polls, &alive).await;
                    }
                };
                time::timeout(patience(), all).await.unwrap_or_else(|_| panic!("seed {seed}: stuck"));
                assert_eq!(crate::metrics().stale_completions, 0);
                tally();
            });
            drop(event_loop);
            assert_eq!(alive.load(Ordering::Relaxed), 0, "seed {seed}: buffers are freed exactly once");
        }
    }
    report();
}
