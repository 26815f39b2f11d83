//! Datagrams from and into several buffers.

use std::io::ErrorKind;

use crate::basics::{socket, std_socket};
use crate::util::*;

#[test]
fn one_datagram_of_several_buffers_and_back() {
    run(async {
        let (peer, peer_address) = std_socket();
        let (ours, address) = socket().await;
        let (result, bufs) = ours.send_vectored_to(("one ", "", "two"), peer_address).await;
        assert_eq!((result.unwrap(), bufs), (7, ("one ", "", "two")));
        let mut buf = [0; 99];
        assert_eq!(peer.recv_from(&mut buf).unwrap(), (7, address));
        assert_eq!(&buf[..7], b"one two");
        ours.connect(peer_address).await.unwrap();
        assert_eq!(ours.send_vectored(vec!["x"; 1000]).await.0.unwrap(), 1000);
        assert_eq!(peer.recv(&mut buf).unwrap(), 99);
        assert_eq!(ours.send_vectored(Vec::<&'static str>::new()).await.0.unwrap(), 0);
        assert_eq!(peer.recv(&mut buf).unwrap(), 0);
        let (result, _) = ours.send_vectored(vec!["x"; 1025]).await;
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));

        for text in ["0123456789", "", "012", "far too long for it all"] {
            peer.send_to(text.as_bytes(), address).unwrap();
            let bufs = [Vec::with_capacity(4), Vec::with_capacity(0), Vec::with_capacity(8)];
            let (result, bufs) = ours.recv_vectored_from(bufs).await;
            let count = text.len().min(12);
            assert_eq!(result.unwrap(), (count, peer_address));
            assert_eq!(bufs.concat(), &text.as_bytes()[..count]);
            assert_eq!(bufs[0].len(), count.min(4));
        }
        let (result, _) = ours.recv_vectored_from([Vec::new(), Vec::new()]).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn dropped_they_lose_nothing() {
    run(async {
        let (peer, peer_address) = std_socket();
        let (ours, address) = socket().await;
        for round in 0..100u32 {
            let (counted, drops) = Counted::new(vec![0; 2]);
            let mut dropped = ours.recv_vectored_from((counted, Vec::with_capacity(99)));
            assert!(poll_once(&mut dropped).await.is_pending());
            for _ in 0..round % 3 {
                turn().await;
            }
            let text = format!("datagram {round}");
            peer.send_to(text.as_bytes(), address).unwrap();
            for _ in 0..round % 2 {
                turn().await;
            }
            drop(dropped);
            let (result, buf) = if round % 4 < 2 {
                ours.recv_from(Vec::with_capacity(99)).await
            } else {
                let (result, bufs) = ours.recv_vectored_from([Vec::with_capacity(3), Vec::with_capacity(99)]).await;
                (result, bufs.concat())
            };
            assert_eq!((result.unwrap(), &buf[..]), ((text.len(), peer_address), text.as_bytes()));
            drops.once().await;
        }
        // A send that was dropped was sent or was not.
        for turns in 0..3 {
            let mut send = ours.send_vectored_to(("a", "b"), peer_address);
            let _ = poll_once(&mut send).await;
            for _ in 0..turns {
                turn().await;
            }
            drop(send);
            let fate = ours.take_dropped_write().await;
            assert_eq!(turns == 0, fate.is_none());
            if let Some(Ok(count)) = fate {
                assert_eq!((count, peer.recv(&mut [0; 9]).unwrap()), (2, 2));
            }
        }
    });
}
