//! Tokio's context inside a loop: host mode.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringtoss::compat::tokio::{in_context, in_context_of};
use ringtoss::time;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::patience::run;

#[test]
fn tokios_sockets_work_on_a_loop_beside_its_own() {
    run(async {
        let listener = in_context(async { TcpListener::bind("127.0.0.1:0").await }).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = ringtoss::spawn(in_context(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = [0; 32];
            let mut count = 0;
            while stream.read_exact(&mut bytes).await.is_ok() {
                stream.write_all(&bytes).await.unwrap();
                count += 1;
            }
            count
        }));
        // One task, both worlds, at once.
        in_context(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            for step in 0..200u8 {
                stream.write_all(&[step; 32]).await.unwrap();
                let mut back = [0; 32];
                let (read, nop) = futures::join!(stream.read_exact(&mut back), ringtoss::op::nop());
                read.unwrap();
                nop.unwrap();
                assert_eq!(back, [step; 32]);
            }
        })
        .await;
        assert_eq!(server.await.unwrap(), 200);
    });
}

#[test]
fn what_is_spawned_runs_on_tokio_and_blocking_calls_on_its_threads() {
    run(async {
        in_context(async {
            let task = tokio::spawn(async { std::thread::current().name().map(str::to_string) });
            assert_eq!(task.await.unwrap().as_deref(), Some("ringtoss-tokio"));
            assert_eq!(tokio::task::spawn_blocking(|| 5).await.unwrap(), 5);
        })
        .await;
    });
}

#[test]
fn many_at_once_are_all_woken() {
    run(async {
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                ringtoss::spawn(in_context(async {
                    let (mut one, mut other) = tokio::net::UnixStream::pair().unwrap();
                    for _ in 0..40 {
                        let writes = async move {
                            one.write_all(b"x").await.unwrap();
                            one
                        };
                        one = tokio::spawn(writes).await.unwrap();
                        other.read_exact(&mut [0]).await.unwrap();
                    }
                }))
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn it_is_dropped_in_the_context() {
    struct Looks(Rc<RefCell<Vec<bool>>>);
    impl Future for Looks {
        type Output = ();
        fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
            self.0.borrow_mut().push(tokio::runtime::Handle::try_current().is_ok());
            Poll::Pending
        }
    }
    impl Drop for Looks {
        fn drop(&mut self) {
            self.0.borrow_mut().push(tokio::runtime::Handle::try_current().is_ok());
        }
    }
    let seen = Rc::new(RefCell::new(Vec::new()));
    run(async {
        let waited = time::timeout(Duration::from_millis(1), in_context(Looks(seen.clone()))).await;
        assert!(waited.is_err());
        assert!(tokio::runtime::Handle::try_current().is_err(), "only inside");
    });
    let seen = seen.borrow();
    assert!(seen.len() >= 2 && seen.iter().all(|&inside| inside), "{seen:?}");
}

#[test]
fn a_panic_inside_leaves_the_context() {
    run(async {
        let task = ringtoss::spawn(in_context(async { panic!("as it must be") }));
        assert!(task.await.unwrap_err().is_panic());
        assert!(tokio::runtime::Handle::try_current().is_err());
        in_context(async { tokio::task::yield_now().await }).await;
    });
}

#[test]
fn a_runtime_of_ones_own_serves_too() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let thread = std::thread::Builder::new()
        .name("of one's own".to_string())
        .spawn(move || drop(runtime.block_on(stopped)))
        .unwrap();
    run(in_context_of(&handle, async {
        let task = tokio::spawn(async { std::thread::current().name().map(str::to_string) });
        assert_eq!(task.await.unwrap().as_deref(), Some("of one's own"));
        let (mut one, mut other) = tokio::net::UnixStream::pair().unwrap();
        one.write_all(b"x").await.unwrap();
        other.read_exact(&mut [0]).await.unwrap();
    }));
    stop.send(()).unwrap();
    thread.join().unwrap();
}

#[test]
fn it_is_send_if_its_content_is() {
    fn sendable<T: Send>(_: &T) {}
    sendable(&in_context(async {}));
}
