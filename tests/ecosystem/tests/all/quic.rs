//! quinn over the example's runtime: many connections, datagrams that get lost, sockets that are full.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{ErrorKind, IoSliceMut};
use std::net::SocketAddr;
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};

use quinn::udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use quinn::{AsyncUdpSocket, ClientConfig, Connection, Endpoint, Runtime as _, TransportConfig, VarInt};
use ringtoss::net::UdpSocket;
use ringtoss_ecosystem::{noise, program, run};

// The example is what is tested.
#[allow(dead_code, reason = "its main function")]
#[path = "../../examples/quinn_echo.rs"]
mod quinn_echo;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// On a machine that has much else to do, an answer may take longer than the half minute that quinn waits for one.
fn server() -> (Endpoint, ClientConfig) {
    let (mut server, mut client) = quinn_echo::configurations().unwrap();
    let mut patient = TransportConfig::default();
    patient.max_idle_timeout(None);
    let patient = Arc::new(patient);
    server.transport_config(patient.clone());
    client.transport_config(patient);
    let endpoint = quinn_echo::endpoint(ANY, Some(server)).unwrap();
    ringtoss::spawn(quinn_echo::echo(endpoint.clone()));
    (endpoint, client)
}

/// Everything that is sent on a stream comes back.
async fn ask(connection: &Connection, len: usize) {
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    let sent = noise(len);
    let (back, ()) = futures::join!(receive.read_to_end(len), async {
        send.write_all(&sent).await.unwrap();
        send.finish().unwrap();
    });
    assert!(back.unwrap() == sent);
}

/// Closing is told to the peer, and an endpoint is idle when both have forgotten the connection. (That takes three times as long
/// as an answer may take, which with many connections on a busy machine can be a minute; hence one connection.)
#[test]
fn an_endpoint_becomes_idle() {
    run(async {
        let (server, config) = server();
        let address = server.local_addr().unwrap();
        let client = quinn_echo::endpoint(ANY, None).unwrap();
        let connection = client.connect_with(config, address, "localhost").unwrap().await.unwrap();
        ask(&connection, 100).await;
        assert_eq!(server.open_connections(), 1);
        connection.close(VarInt::from_u32(7), b"done");
        client.wait_idle().await;
        server.wait_idle().await;
        assert_eq!(server.open_connections(), 0);
    });
}

#[test]
fn many_connections_with_many_streams() {
    run(async {
        let (server, config) = server();
        let address = server.local_addr().unwrap();
        let client = quinn_echo::endpoint(ANY, None).unwrap();
        let connections = (0..40).map(|number| {
            let (client, config) = (&client, config.clone());
            async move {
                let connection = client.connect_with(config, address, "localhost").unwrap().await.unwrap();
                futures::future::join_all((0..5).map(|stream| ask(&connection, number * 1000 + stream * 37))).await;
                connection
            }
        });
        let connections = futures::future::join_all(connections).await;
        ask(&connections[0], 5_000_000).await;
        let sent = connections[0].stats().udp_tx;
        assert!(sent.ios * 2 < sent.datagrams, "several datagrams a call: {sent:?}");
    });
}

/// Passes on what it gets, in both directions, but for one datagram in twenty.
async fn relay(server: SocketAddr) -> SocketAddr {
    let front = Rc::new(UdpSocket::bind(ANY).await.unwrap());
    let address = front.local_addr().unwrap();
    let lost = |seed: &mut u64| {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 33).is_multiple_of(20)
    };
    ringtoss::spawn(async move {
        let mut backs = HashMap::<SocketAddr, Rc<UdpSocket>>::new();
        let (mut buf, mut seed) = (Vec::with_capacity(2000), 1);
        loop {
            let result;
            (result, buf) = front.recv_from(buf).await;
            let (_, client) = result.unwrap();
            let clients = backs.len() as u64;
            if let Entry::Vacant(entry) = backs.entry(client) {
                let back = Rc::new(UdpSocket::bind(ANY).await.unwrap());
                back.connect(server).await.unwrap();
                entry.insert(back.clone());
                let (front, mut seed) = (front.clone(), clients);
                ringtoss::spawn(async move {
                    let mut buf = Vec::with_capacity(2000);
                    // Until the server has gone.
                    loop {
                        let result;
                        (result, buf) = back.recv(buf).await;
                        if result.is_err() {
                            return;
                        }
                        if !lost(&mut seed) {
                            (_, buf) = front.send_to(buf, client).await;
                        }
                    }
                });
            }
            if !lost(&mut seed) {
                (_, buf) = backs[&client].send(buf).await;
            }
        }
    });
    address
}

#[test]
fn one_datagram_in_twenty_is_lost() {
    run(async {
        let (server, config) = server();
        let relay = relay(server.local_addr().unwrap()).await;
        let client = quinn_echo::endpoint(ANY, None).unwrap();
        let connections = (0..10).map(|_| {
            let (client, config) = (&client, config.clone());
            async move {
                let connection = client.connect_with(config, relay, "localhost").unwrap().await.unwrap();
                futures::future::join_all((0..3).map(|_| ask(&connection, 50_000))).await;
                connection
            }
        });
        let connections = futures::future::join_all(connections).await;
        let lost: u64 = connections.iter().map(|connection| connection.stats().path.lost_packets).sum();
        assert!(lost > 10, "{lost} packets were lost");
    });
}

fn socket(address: SocketAddr) -> Arc<dyn AsyncUdpSocket> {
    quinn_echo::Runtime.wrap_udp_socket(std::net::UdpSocket::bind(address).unwrap()).unwrap()
}

fn transmit(destination: SocketAddr, contents: &[u8], segment_size: Option<usize>) -> Transmit<'_> {
    Transmit { destination, ecn: Some(EcnCodepoint::Ect0), contents, segment_size, src_ip: None }
}

/// Segments go out and come in by one call each, with their mark.
#[test]
fn segments_are_cut_and_joined() {
    run(async {
        let (sender, receiver) = (socket(ANY), socket(ANY));
        assert!(sender.max_transmit_segments() >= 10 && receiver.max_receive_segments() >= 10);
        let sent = noise(10 * 1200 - 7);
        sender.try_send(&transmit(receiver.local_addr().unwrap(), &sent, Some(1200))).unwrap();
        let (mut buf, mut meta) = (vec![0; 65_536], [RecvMeta::default(); BATCH_SIZE]);
        let count =
            std::future::poll_fn(|cx| receiver.poll_recv(cx, &mut [IoSliceMut::new(&mut buf)], &mut meta)).await;
        let got = meta[0];
        assert_eq!((count.unwrap(), got.len, got.stride), (1, sent.len(), 1200));
        assert_eq!((got.addr, got.ecn), (sender.local_addr().unwrap(), Some(EcnCodepoint::Ect0)));
        assert!(buf[..got.len] == sent);
    });
}

struct Counter(std::sync::atomic::AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

/// A network of its own, in which nobody answers who has an address until we say it: what is sent waits in the kernel.
fn silent_network(ip: &std::path::Path) -> bool {
    // SAFETY: it changes which network this thread is in, and nothing of the program's memory.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return false;
    }
    let run =
        |arguments: &str| Command::new(ip).args(arguments.split(' ')).status().is_ok_and(|status| status.success());
    run("link add here type veth peer name there")
        && run("addr add 10.9.9.1/24 dev here")
        && run("link set here up")
        && run("link set there up")
}

/// Each poller wakes its own task when the socket, which was full, takes datagrams again.
#[test]
fn every_poller_is_woken() {
    let Some(ip) = program("ip") else { return };
    if !silent_network(&ip) {
        eprintln!("SKIPPED: no network of one's own without CAP_NET_ADMIN");
        return;
    }
    run(async {
        let plain = std::net::UdpSocket::bind("10.9.9.1:0").unwrap();
        let state = UdpSocketState::new((&plain).into()).unwrap();
        state.set_send_buffer_size(UdpSockRef::from(&plain), 1).unwrap();
        let socket = quinn_echo::Runtime.wrap_udp_socket(plain).unwrap();
        let mut pollers = [(); 3].map(|()| socket.clone().create_io_poller());
        let counters = [(); 3].map(|()| Arc::new(Counter(0.into())));
        let mut poll = |index: usize| {
            let waker = Waker::from(counters[index].clone());
            pollers[index].as_mut().poll_writable(&mut std::task::Context::from_waker(&waker)).map(Result::unwrap)
        };
        for index in 0..3 {
            assert!(poll(index).is_ready(), "nothing was refused yet");
        }
        let contents = noise(1000);
        let target = "10.9.9.2:9".parse().unwrap();
        let full = (0..100).find_map(|_| socket.try_send(&transmit(target, &contents, None)).err());
        assert_eq!(full.expect("it takes so much and no more").kind(), ErrorKind::WouldBlock);
        for index in 0..3 {
            assert_eq!(poll(index), Poll::Pending);
            // Waiting goes on when it is polled again.
            assert_eq!(poll(index), Poll::Pending);
        }
        let mut answer = Command::new(&ip);
        answer.args("neigh replace 10.9.9.2 lladdr 02:00:00:00:00:02 dev here nud permanent".split(' '));
        assert!(answer.status().unwrap().success());
        for (index, counter) in counters.iter().enumerate() {
            while counter.0.load(std::sync::atomic::Ordering::SeqCst) == 0 {
                ringtoss::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            assert!(poll(index).is_ready());
            assert!(poll(index).is_ready(), "as long as nothing is refused");
        }
        socket.try_send(&transmit(target, &contents, None)).unwrap();
    });
}
