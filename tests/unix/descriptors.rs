//! Descriptors that travel with bytes: they arrive, and none is leaked.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;

use ringtoss::net::{UnixDatagram, UnixStream};

use crate::util::*;

/// A pipe whose reading end is to travel. While anybody has that, the writing end can be written to.
fn pipe() -> (OwnedFd, std::io::PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    (reader.into(), writer)
}

/// Checks that this is the pipe's other end.
fn check_pipe(fd: OwnedFd, writer: &mut std::io::PipeWriter) {
    writer.write_all(b"through").unwrap();
    let mut buf = [0; 7];
    File::from(fd).read_exact(&mut buf).unwrap();
    assert_eq!(&buf, b"through");
}

/// Waits until nobody has the reading end any more.
async fn until_closed(mut writer: std::io::PipeWriter) {
    until(|| writer.write(b"x").is_err_and(|error| error.kind() == ErrorKind::BrokenPipe)).await;
}

#[test]
fn descriptors_arrive_with_the_bytes() {
    run(async {
        let (mut a, mut b) = UnixStream::pair().unwrap();
        let (first, mut first_writer) = pipe();
        let (second, mut second_writer) = pipe();
        assert_eq!(a.send_fds("two", vec![first, second]).await.0.unwrap(), 3);
        a.write_all(" none").await.0.unwrap();
        let (result, buf) = b.recv_fds(Vec::with_capacity(99)).await;
        let (count, mut fds) = result.unwrap();
        assert_eq!((count, fds.len()), (buf.len(), 2));
        check_pipe(fds.remove(0), &mut first_writer);
        check_pipe(fds.remove(0), &mut second_writer);
        until_closed(first_writer).await;
        if count < 8 {
            assert!(b.recv_fds(Vec::with_capacity(99)).await.0.unwrap().1.is_empty());
        }
        drop(a);
        let (result, _) = b.recv_fds(Vec::with_capacity(99)).await;
        assert_eq!(result.unwrap().0, 0);

        let (a, b) = UnixDatagram::pair().unwrap();
        let (fd, mut writer) = pipe();
        a.send_fds("", vec![fd]).await.0.unwrap();
        let (count, mut fds) = b.recv_fds(Vec::with_capacity(99)).await.0.unwrap();
        assert_eq!((count, fds.len()), (0, 1));
        check_pipe(fds.remove(0), &mut writer);
    });
}

#[test]
fn many_descriptors_go_at_once_and_too_many_are_refused() {
    run(async {
        let (mut a, mut b) = UnixStream::pair().unwrap();
        let some = |count: usize| (0..count).map(|_| pipe().0).collect::<Vec<OwnedFd>>();
        a.send_fds("x", some(253)).await.0.unwrap();
        assert_eq!(b.recv_fds(Vec::with_capacity(9)).await.0.unwrap().1.len(), 253);
        assert_eq!(a.send_fds("x", some(254)).await.0.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(a.send_fds("", some(1)).await.0.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn descriptors_that_nobody_takes_are_closed() {
    run(async {
        let (mut a, mut b) = UnixStream::pair().unwrap();
        // Received and dropped.
        let (fd, writer) = pipe();
        a.send_fds("x", vec![fd]).await.0.unwrap();
        drop(b.recv_fds(Vec::with_capacity(9)).await);
        until_closed(writer).await;
        // Not asked for.
        let (fd, writer) = pipe();
        a.send_fds("x", vec![fd]).await.0.unwrap();
        b.read(Vec::with_capacity(9)).await.0.unwrap();
        until_closed(writer).await;
        // Never sent.
        let (fd, writer) = pipe();
        assert!(poll_and_drop(a.send_fds("x", vec![fd])).await.is_none());
        until_closed(writer).await;
        // In the queue of a socket that goes.
        let (fd, writer) = pipe();
        a.send_fds("x", vec![fd]).await.0.unwrap();
        drop(b);
        until_closed(writer).await;
    });
}

/// A receive that descriptors have come to, and that is dropped before it was polled.
async fn drop_with_descriptor(a: &mut UnixStream, b: &mut UnixStream) -> std::io::PipeWriter {
    let (buf, drops) = Counted::new(Vec::with_capacity(99));
    let mut receive = b.recv_fds(buf);
    assert!(poll_once(&mut receive).await.is_pending());
    turn().await;
    let (fd, writer) = pipe();
    a.send_fds("with", vec![fd]).await.0.unwrap();
    turn().await;
    drop(receive);
    drops.once().await;
    writer
}

#[test]
fn a_dropped_receive_leaves_its_descriptors_to_the_next() {
    run(async {
        let (mut a, mut b) = UnixStream::pair().unwrap();
        for _ in 0..20 {
            let mut writer = drop_with_descriptor(&mut a, &mut b).await;
            assert_eq!(b.peek(Vec::with_capacity(2)).await.0.unwrap(), 2);
            let (result, buf) = b.recv_fds(Vec::with_capacity(2)).await;
            let (count, mut fds) = result.unwrap();
            assert_eq!((count, fds.len(), &buf[..]), (2, 1, &b"wi"[..]));
            check_pipe(fds.remove(0), &mut writer);
            let (result, buf) = b.recv_fds(Vec::with_capacity(99)).await;
            assert_eq!((result.unwrap().1.len(), &buf[..]), (0, &b"th"[..]));
        }
        // A read that does not ask loses them, as it does in the kernel, and nothing else.
        let writer = drop_with_descriptor(&mut a, &mut b).await;
        let (result, buf) = b.read_exact(Vec::with_capacity(4), 4).await;
        result.unwrap();
        assert_eq!(buf, b"with");
        until_closed(writer).await;
        // They are lost neither by a conversion nor with the stream.
        let mut writer = drop_with_descriptor(&mut a, &mut b).await;
        let failure = b.into_std().unwrap_err();
        assert_eq!(failure.error().kind(), ErrorKind::ResourceBusy);
        let mut b = failure.into_inner();
        let (_, mut fds) = b.recv_fds(Vec::with_capacity(9)).await.0.unwrap();
        check_pipe(fds.remove(0), &mut writer);
        let writer = drop_with_descriptor(&mut a, &mut b).await;
        drop(b);
        until_closed(writer).await;
    });
}

#[test]
fn a_dropped_receive_of_a_datagram_leaves_its_descriptors_to_the_next() {
    run(async {
        let (a, b) = UnixDatagram::pair().unwrap();
        for round in 0..20 {
            let mut receive = b.recv_fds(Vec::with_capacity(99));
            assert!(poll_once(&mut receive).await.is_pending());
            turn().await;
            let (fd, mut writer) = pipe();
            a.send_fds("with", vec![fd]).await.0.unwrap();
            turn().await;
            drop(receive);
            if round % 2 == 0 {
                let (count, mut fds) = b.recv_fds(Vec::with_capacity(99)).await.0.unwrap();
                assert_eq!((count, fds.len()), (4, 1));
                check_pipe(fds.remove(0), &mut writer);
            } else {
                assert_eq!(b.recv(Vec::with_capacity(99)).await.0.unwrap(), 4);
                until_closed(writer).await;
            }
        }
        let mut receive = b.recv_fds(Vec::with_capacity(99));
        assert!(poll_once(&mut receive).await.is_pending());
        turn().await;
        let (fd, writer) = pipe();
        a.send_fds("with", vec![fd]).await.0.unwrap();
        turn().await;
        drop(receive);
        // Lost neither by a conversion nor with the socket.
        let failure = b.into_parts().unwrap_err();
        assert_eq!(failure.error().kind(), ErrorKind::ResourceBusy);
        drop(failure);
        until_closed(writer).await;
    });
}

/// A send looks its descriptors up with every try, so they stay open until it is over.
#[test]
fn a_send_that_waits_keeps_its_descriptors() {
    run(async {
        let (a, b) = UnixDatagram::pair().unwrap();
        let mut queued = 0;
        let (mut send, mut writer) = loop {
            let (fd, writer) = pipe();
            let mut send = a.send_fds(vec![0; 9], vec![fd]);
            let polled = poll_once(&mut send).await;
            assert!(polled.is_pending());
            for _ in 0..3 {
                turn().await;
            }
            match poll_once(&mut send).await {
                std::task::Poll::Ready((result, _)) => assert_eq!(result.unwrap(), 9),
                std::task::Poll::Pending => break (send, writer),
            }
            queued += 1;
        };
        // Numbers that were free are taken by others meanwhile.
        let _others: Vec<_> = (0..10).map(|_| pipe()).collect();
        for _ in 0..queued {
            assert_eq!(b.recv_fds(Vec::with_capacity(9)).await.0.unwrap().1.len(), 1);
        }
        assert_eq!((&mut send).await.0.unwrap(), 9);
        drop(send);
        let (_, mut fds) = b.recv_fds(Vec::with_capacity(9)).await.0.unwrap();
        check_pipe(fds.remove(0), &mut writer);
        until_closed(writer).await;
    });
}
