//! The whole stack once through.

use std::time::Duration;

#[test]
fn nops_sleeps_tasks_and_pipes() {
    let out = ringtoss::block_on(async {
        for _ in 0..10 {
            ringtoss::op::nop().await.unwrap();
        }
        let tasks: Vec<_> = (0..1000)
            .map(|i| {
                ringtoss::spawn(async move {
                    for _ in 0..10 {
                        ringtoss::op::nop().await.unwrap();
                    }
                    ringtoss::time::sleep(Duration::from_millis(5)).await;
                    i
                })
            })
            .collect();
        let mut sum = 0;
        for task in tasks {
            sum += task.await.unwrap();
        }
        println!("{:?}", ringtoss::metrics());
        sum
    });
    assert_eq!(out, 999 * 500);
}

/// By itself, since valgrind lets no other thread run while one waits in a system call that it does not know to wait.
#[test]
fn the_pool_answers() {
    assert_eq!(ringtoss::block_on(ringtoss::spawn_blocking(|| 5)).unwrap(), 5);
}

#[test]
fn poll_and_cancel() {
    ringtoss::block_on(async {
        let (reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
        let poll = ringtoss::op::poll_readable(&reader);
        let error = poll.timeout(Duration::from_millis(10)).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        let error = ringtoss::op::poll_readable(&reader).cancel().await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
        drop(writer);
        ringtoss::op::poll_readable(&reader).await.unwrap();
    });
}

#[test]
fn a_listener_dropped_between_two_runs_leaves_its_port_free() {
    use ringtoss::net::{TcpListener, TcpStream};
    let event_loop = ringtoss::EventLoop::new().unwrap();
    let mut listener = event_loop.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    for _ in 0..100 {
        event_loop.block_on(async {
            let client = TcpStream::connect(address).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            drop((client, server));
        });
        drop(listener);
        listener = event_loop.block_on(TcpListener::bind(address)).unwrap();
    }
}
