//! Readiness of descriptors that are not the crate's.

#[path = "patience/mod.rs"]
mod patience;

use std::future::{Future, poll_fn};
use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use ringtoss::io::{AsyncFd, Interest, Ready};

use patience::*;

async fn turn() {
    ringtoss::op::nop().await.unwrap();
}

async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

fn pipe() -> (AsyncFd<PipeReader>, PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    (AsyncFd::new(reader).unwrap(), writer)
}

#[test]
fn a_reader_waits_until_there_is_something() {
    run(async {
        let (reader, mut writer) = pipe();
        let mut readable = pin!(reader.readable());
        assert!(poll_once(readable.as_mut()).await.is_pending());
        turn().await;
        assert!(poll_once(readable.as_mut()).await.is_pending());
        writer.write_all(b"here").unwrap();
        let mut guard = readable.await.unwrap();
        assert!(guard.ready().is_readable() && !guard.ready().is_read_closed() && !guard.ready().is_writable());
        let count = guard.try_io(|fd| fd.get_ref().read(&mut [0; 9])).unwrap().unwrap();
        assert_eq!(count, 4);
        // Nothing is remembered: it is not ready any more.
        guard.clear_ready();
        assert!(guard.ready().is_empty());
        let again = pin!(reader.readable());
        let mut again = again;
        assert!(poll_once(again.as_mut()).await.is_pending());
        drop(writer);
        let guard = again.await.unwrap();
        assert!(guard.ready().is_read_closed());
        assert_eq!(guard.get_inner().as_raw_fd(), guard.get_ref().as_raw_fd());
    });
}

#[test]
fn a_writer_waits_until_there_is_room_and_learns_of_the_end() {
    run(async {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut writer = AsyncFd::new(writer).unwrap();
        assert!(writer.writable().await.unwrap().ready().is_writable());
        writer.get_mut().write_all(&[0; 65_536]).unwrap();
        let mut writable = Box::pin(writer.writable());
        assert!(poll_once(writable.as_mut()).await.is_pending());
        turn().await;
        reader.read_exact(&mut [0; 65_536]).unwrap();
        writable.await.unwrap();
        let mut guard = writer.writable_mut().await.unwrap();
        assert_eq!(guard.try_io(|fd| fd.get_mut().write(b"x")).unwrap().unwrap(), 1);
        guard.get_inner_mut().flush().unwrap();
        drop(reader);
        let guard = writer.writable().await.unwrap();
        assert!(guard.ready().is_error() && guard.ready().is_write_closed(), "{guard:?}");
    });
}

#[test]
fn what_would_block_is_tried_again_when_it_is_ready() {
    run(async {
        let (ours, mut peer) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut ours = AsyncFd::new(ours).unwrap();
        peer.write_all(b"x").unwrap();
        let mut guard = ours.readable().await.unwrap();
        guard.try_io(|fd| fd.get_ref().read(&mut [0; 9])).unwrap().unwrap();
        let error = guard.try_io(|fd| fd.get_ref().read(&mut [0; 9])).unwrap_err();
        assert!(error.to_string().contains("block"));
        let task = async {
            let mut tries = 0;
            let count = ours.async_io(Interest::READABLE, |fd| {
                tries += 1;
                // The first time somebody else was faster.
                if tries == 1 { Err(ErrorKind::WouldBlock.into()) } else { (&*fd).read(&mut [0; 99]) }
            });
            (count.await.unwrap(), tries)
        };
        let (outcome, ()) = futures::join!(task, async {
            turn().await;
            peer.write_all(b"later").unwrap();
        });
        assert_eq!(outcome, (5, 2));
        peer.write_all(b"mut").unwrap();
        assert_eq!(ours.async_io_mut(Interest::READABLE, |fd| fd.read(&mut [0; 99])).await.unwrap(), 3);
        let error = ours.async_io(Interest::WRITABLE, |_| Err::<(), _>(ErrorKind::NotFound.into())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn several_tasks_wait_in_both_directions_at_once() {
    run(async {
        let (ours, mut peer) = UnixStream::pair().unwrap();
        let ours = Arc::new(AsyncFd::new(ours).unwrap());
        let waiters: Vec<_> = (0..10)
            .map(|_| {
                let ours = ours.clone();
                ringtoss::spawn(async move { ours.readable().await.unwrap().ready().is_readable() })
            })
            .collect();
        turn().await;
        assert!(ours.writable().await.unwrap().ready().is_writable());
        let ready = ours.ready(Interest::READABLE | Interest::WRITABLE).await.unwrap().ready();
        assert!(ready.is_writable() && !ready.is_readable());
        assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
        peer.write_all(b"for all").unwrap();
        for waiter in waiters {
            assert!(waiter.await.unwrap());
        }
    });
}

#[test]
fn hand_written_futures_poll_it() {
    run(async {
        let (ours, mut peer) = UnixStream::pair().unwrap();
        let mut ours = AsyncFd::new(ours).unwrap();
        poll_fn(|cx| ours.poll_write_ready(cx).map_ok(|guard| assert!(guard.ready().is_writable()))).await.unwrap();
        let pending = poll_fn(|cx| Poll::Ready(ours.poll_read_ready(cx).is_pending())).await;
        assert!(pending);
        turn().await;
        peer.write_all(b"x").unwrap();
        poll_fn(|cx| ours.poll_read_ready(cx).map_ok(drop)).await.unwrap();
        poll_fn(|cx| ours.poll_read_ready_mut(cx).map_ok(drop)).await.unwrap();
        poll_fn(|cx| ours.poll_write_ready_mut(cx).map_ok(drop)).await.unwrap();
        // One that has begun to wait is taken apart as it is.
        let _ = ours.get_ref().read(&mut [0; 9]).unwrap();
        assert!(poll_fn(|cx| Poll::Ready(ours.poll_read_ready(cx).is_pending())).await);
        let inner = ours.into_inner();
        peer.write_all(b"y").unwrap();
        assert_eq!((&inner).read(&mut [0; 9]).unwrap(), 1);
    });
}

#[test]
fn dropped_waits_take_nothing() {
    run(async {
        let (reader, mut writer) = pipe();
        for round in 0..60 {
            {
                let mut readable = pin!(reader.readable());
                assert!(poll_once(readable.as_mut()).await.is_pending());
                for _ in 0..round % 3 {
                    turn().await;
                }
                if round % 2 == 0 {
                    writer.write_all(b"x").unwrap();
                    turn().await;
                }
            }
            if round % 2 == 1 {
                writer.write_all(b"x").unwrap();
            }
            let mut guard = reader.readable().await.unwrap();
            assert_eq!(guard.try_io(|fd| fd.get_ref().read(&mut [0; 9])).unwrap().unwrap(), 1);
        }
        let mut forgotten = Box::pin(reader.readable());
        assert!(poll_once(forgotten.as_mut()).await.is_pending());
        turn().await;
        std::mem::forget(forgotten);
        writer.write_all(b"x").unwrap();
        reader.readable().await.unwrap();
        assert_eq!(ringtoss::metrics().stale_completions, 0);
    });
}

#[test]
fn it_goes_to_other_threads_and_loops() {
    fn is_send<T: Send + Sync>(_: &T) {}
    let (reader, mut writer) = pipe();
    is_send(&reader);
    is_send(&reader.readable());
    let reader = Arc::new(reader);
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let reader = reader.clone();
            std::thread::spawn(move || run(async { reader.readable().await.unwrap().ready().is_readable() }))
        })
        .collect();
    writer.write_all(b"x").unwrap();
    for thread in threads {
        assert!(thread.join().unwrap());
    }
}

#[test]
fn errors_say_what_is_wrong() {
    run(async {
        let (reader, _writer) = std::io::pipe().unwrap();
        let reader = AsyncFd::with_interest(reader, Interest::READABLE).unwrap();
        assert_eq!(reader.writable().await.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(format!("{:?}", Interest::READABLE | Interest::PRIORITY), "READABLE | PRIORITY");
        // A regular file is always ready.
        let file = AsyncFd::new(std::fs::File::open("/proc/self/exe").unwrap()).unwrap();
        assert!(file.readable().await.unwrap().ready().is_readable());
        assert!(format!("{file:?}").contains("AsyncFd"));
    });
}

/// inotify, which neither std nor the crate knows.
#[test]
#[allow(unsafe_code, reason = "system calls")]
fn changes_of_a_folder_are_awaited() {
    use std::os::fd::FromRawFd;
    use std::os::unix::ffi::OsStrExt;
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = std::ffi::CString::new(folder.path().as_os_str().as_bytes()).unwrap();
        // SAFETY: the number is new, and the path lives over the call.
        let inotify = unsafe {
            let fd = OwnedFd::from_raw_fd(libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK));
            assert!(libc::inotify_add_watch(fd.as_raw_fd(), path.as_ptr(), libc::IN_CREATE) >= 0);
            AsyncFd::new(std::fs::File::from(fd)).unwrap()
        };
        for round in 0..10 {
            let mut events = Vec::from([0; 4096]);
            let change = inotify.async_io(Interest::READABLE, |mut file| file.read(&mut events));
            let (count, ()) = futures::join!(change, async {
                turn().await;
                std::fs::write(folder.path().join(round.to_string()), "").unwrap();
            });
            assert!(count.unwrap() >= size_of::<libc::inotify_event>());
        }
    });
}

#[test]
fn what_is_not_ready_is_not_tried() {
    run(async {
        let (mut reader, mut writer) = pipe();
        let mut buf = [0; 16];
        let error = reader.try_io(Interest::READABLE, |_| -> std::io::Result<()> { panic!("it is not ready") });
        assert_eq!(error.unwrap_err().kind(), ErrorKind::WouldBlock);
        writer.write_all(b"now").unwrap();
        assert_eq!(reader.try_io(Interest::READABLE, |mut pipe| pipe.read(&mut buf)).unwrap(), 3);
        drop(writer);
        assert_eq!(reader.try_io_mut(Interest::READABLE, |pipe| pipe.read(&mut buf)).unwrap(), 0, "the end");
        let mut guard = reader.readable().await.unwrap();
        assert!(guard.ready().is_read_closed());
        guard.clear_ready_matching(Ready::WRITE_CLOSED | Ready::READ_CLOSED);
        guard.retain_ready();
        assert!(guard.ready().is_empty(), "{:?}", guard.ready());
        let both = Interest::READABLE | Interest::WRITABLE;
        assert_eq!(both.remove(Interest::WRITABLE), Some(Interest::READABLE));
        assert_eq!(Interest::READABLE.remove(both), None);
    });
}
