//! Networks that lose, reorder, repeat and delay packets, that reset connections and go silent. Two interfaces of a network
//! namespace of the test's own are joined by a thread which does that to every packet, from a seed. Where the kernel has netem,
//! it does that instead, as `RINGTOSS_TEST_NETEM` says (`.ci/long guest netem`).

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ringtoss::net::{TcpListener, TcpStream, UdpSocket};

use crate::util::*;

/// What happens to packets, in a thousand.
#[derive(Clone, Copy)]
struct Weather {
    lost: u64,
    late: u64,
    twice: u64,
}

#[derive(Default)]
struct Counts {
    passed: AtomicU64,
    lost: AtomicU64,
    late: AtomicU64,
    twice: AtomicU64,
    reset: AtomicU64,
}

/// What the test may switch while the network runs.
#[derive(Default)]
struct Switches {
    silent: AtomicBool,
    /// The next packet that carries data becomes a reset.
    reset: AtomicBool,
    over: AtomicBool,
}

struct Network {
    counts: Arc<Counts>,
    switches: Arc<Switches>,
    relay: Option<std::thread::JoinHandle<()>>,
    /// The kernel loses the packets, not the relay.
    by_kernel: bool,
}

impl Drop for Network {
    fn drop(&mut self) {
        self.switches.over.store(true, Ordering::Relaxed);
        let _ = self.relay.take().unwrap().join();
    }
}

/// A device whose packets are read and written by us.
fn tun(name: &str) -> std::io::Result<OwnedFd> {
    // SAFETY: the path is a string with an end.
    let fd = unsafe { libc::open(c"/dev/net/tun".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC | libc::O_NONBLOCK) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: it is ours.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: plain bytes, for which zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the structure lives over the call.
    match unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) } {
        0 => Ok(fd),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Sets an address of the device, its mask, and switches it on.
fn set_up(name: &str, address: [u8; 4]) {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let ask = |call: libc::c_ulong, fill: &dyn Fn(&mut libc::ifreq)| {
        // SAFETY: plain bytes, for which zero is valid.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        fill(&mut request);
        // SAFETY: the structure lives over the call.
        let result = unsafe { libc::ioctl(socket.as_raw_fd(), call as _, &raw mut request) };
        assert_eq!(result, 0, "{name}: {}", std::io::Error::last_os_error());
    };
    let inet = |bytes: [u8; 4]| {
        let mut data = [0; 14];
        data[2..6].copy_from_slice(&bytes.map(|byte| byte as libc::c_char));
        libc::sockaddr { sa_family: libc::AF_INET as u16, sa_data: data }
    };
    ask(libc::SIOCSIFADDR as _, &|request| request.ifr_ifru.ifru_addr = inet(address));
    ask(libc::SIOCSIFNETMASK as _, &|request| request.ifr_ifru.ifru_netmask = inet([255, 255, 255, 0]));
    ask(libc::SIOCSIFFLAGS as _, &|request| request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16);
}

/// The internet's checksum.
fn checksum(parts: [&[u8]; 2]) -> [u8; 2] {
    let mut sum = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// Makes the checksums right.
fn seal(packet: &mut [u8], header: usize) {
    packet[10..12].fill(0);
    let sum = checksum([&packet[..header], &[]]);
    packet[10..12].copy_from_slice(&sum);
    let place = header + if packet[9] == 6 { 16 } else { 6 };
    let length = (packet.len() - header) as u16;
    let mut pseudo = packet[12..20].to_vec();
    pseudo.extend([0, packet[9]]);
    pseudo.extend(length.to_be_bytes());
    packet[place..place + 2].fill(0);
    let sum = checksum([&pseudo, &packet[header..]]);
    packet[place..place + 2].copy_from_slice(&sum);
}

/// The packet as a reset in its place, if it is TCP and carries data.
fn as_reset(packet: &[u8]) -> Option<Vec<u8>> {
    let header = usize::from(packet[0] & 15) * 4;
    let data = header + usize::from(*packet.get(header + 12)? >> 4) * 4;
    if packet[9] != 6 || data >= packet.len() {
        return None;
    }
    let mut reset = packet[..header + 20].to_vec();
    reset[header + 12] = 5 << 4;
    reset[header + 13] = 0x14; // RST, ACK
    let length = reset.len() as u16;
    reset[2..4].copy_from_slice(&length.to_be_bytes());
    seal(&mut reset, header);
    Some(reset)
}

fn relay(ends: [OwnedFd; 2], weather: Weather, seed: u64, counts: &Counts, switches: &Switches) {
    let mut random = Random(seed);
    let mut waiting: Vec<(Instant, usize, Vec<u8>)> = Vec::new();
    let mut buf = vec![0; 65536];
    let write = |end: usize, packet: &[u8]| {
        // SAFETY: the packet lives over the call. What does not fit is lost, as packets are.
        unsafe { libc::write(ends[end].as_raw_fd(), packet.as_ptr().cast(), packet.len()) };
    };
    while !switches.over.load(Ordering::Relaxed) {
        let mut polls = [0, 1].map(|end| libc::pollfd { fd: ends[end].as_raw_fd(), events: libc::POLLIN, revents: 0 });
        // SAFETY: the structures live over the call.
        unsafe { libc::poll(polls.as_mut_ptr(), 2, if waiting.is_empty() { 10 } else { 1 }) };
        for (end, device) in ends.iter().enumerate() {
            // SAFETY: the buffer lives over the call, and its length is passed.
            let len = unsafe { libc::read(device.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len()) };
            // Version 4 only: the others' announcements of themselves concern nobody.
            if len < 20 || buf[0] >> 4 != 4 || switches.silent.load(Ordering::Relaxed) {
                continue;
            }
            let packet = buf[..len as usize].to_vec();
            if switches.reset.load(Ordering::Relaxed)
                && let Some(reset) = as_reset(&packet)
            {
                switches.reset.store(false, Ordering::Relaxed);
                counts.reset.fetch_add(1, Ordering::Relaxed);
                write(1 - end, &reset);
                continue;
            }
            match random.below(1000) {
                fate if fate < weather.lost => drop(counts.lost.fetch_add(1, Ordering::Relaxed)),
                fate if fate < weather.lost + weather.late => {
                    counts.late.fetch_add(1, Ordering::Relaxed);
                    let until = Instant::now() + Duration::from_micros(random.below(8000));
                    waiting.push((until, 1 - end, packet));
                }
                fate if fate < weather.lost + weather.late + weather.twice => {
                    counts.twice.fetch_add(1, Ordering::Relaxed);
                    write(1 - end, &packet);
                    write(1 - end, &packet);
                }
                _ => {
                    counts.passed.fetch_add(1, Ordering::Relaxed);
                    write(1 - end, &packet);
                }
            }
        }
        let now = Instant::now();
        waiting.retain(|(until, end, packet)| {
            let stays = *until > now;
            if !stays {
                write(*end, packet);
            }
            stays
        });
    }
}

/// What listens at the far end of the network.
struct Far {
    listener: std::net::TcpListener,
    datagrams: std::net::UdpSocket,
}

/// Moves this thread to a network of its own that has one device with this address.
fn move_to_network(name: &str, address: [u8; 4]) -> std::io::Result<OwnedFd> {
    // SAFETY: no memory is passed; only this thread moves.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    let device = tun(name)?;
    set_up(name, address);
    Ok(device)
}

/// Has the kernel treat the packets of this thread's network, and says what it was told to do.
fn netem(name: &str) -> Option<String> {
    let treatment = std::env::var("RINGTOSS_TEST_NETEM").ok()?;
    let mut tc = std::process::Command::new("tc");
    tc.args(["qdisc", "add", "dev", name, "root", "netem", "limit", "10000"]).args(treatment.split(' '));
    assert!(tc.status().unwrap().success(), "{tc:?}");
    Some(treatment)
}

/// What the kernel says that it did to the packets of this thread's network.
fn treated(name: &str) -> String {
    let output = std::process::Command::new("tc").args(["-s", "qdisc", "show", "dev", name]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a test at one end of a network of its own, whose other end is in another one.
fn in_network(weather: Weather, seed: u64, test: impl FnOnce(&Network, Far) + Send + 'static) {
    if !is_root() {
        return left_out("only root may make a network");
    }
    let thread = std::thread::spawn(move || {
        let two = match move_to_network("two", FAR) {
            Ok(device) => device,
            Err(error) => return left_out(format_args!("no network with a TUN device: {error}")),
        };
        // They stay where they were made.
        let far = Far {
            listener: std::net::TcpListener::bind(SocketAddr::from((FAR, 0))).unwrap(),
            datagrams: std::net::UdpSocket::bind(SocketAddr::from((FAR, 0))).unwrap(),
        };
        let bad = weather.lost > 0;
        let far_end = bad.then(|| netem("two")).flatten();
        let one = move_to_network("one", NEAR).unwrap();
        // Where the kernel has bad weather, the relay has none.
        let by_kernel = far_end.is_some() && netem("one").is_some();
        let weather = if by_kernel { FINE } else { weather };
        let (counts, switches) = (Arc::new(Counts::default()), Arc::new(Switches::default()));
        let relay = {
            let (counts, switches) = (counts.clone(), switches.clone());
            std::thread::spawn(move || relay([one, two], weather, seed, &counts, &switches))
        };
        let network = Network { counts, switches, relay: Some(relay), by_kernel };
        test(&network, far);
        if by_kernel {
            println!("netem: {}", treated("one"));
        }
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { passed, lost, late, twice, reset } = &*network.counts;
        println!(
            "packets: {} passed, {} lost, {} late, {} twice, {} turned into resets",
            count(passed),
            count(lost),
            count(late),
            count(twice),
            count(reset)
        );
    });
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

const BAD: Weather = Weather { lost: 50, late: 150, twice: 10 };
const FINE: Weather = Weather { lost: 0, late: 0, twice: 0 };

const NEAR: [u8; 4] = [10, 1, 1, 1];
const FAR: [u8; 4] = [10, 1, 1, 2];

async fn connect(far: Far) -> (TcpStream, TcpStream) {
    let address = far.listener.local_addr().unwrap();
    let listener = TcpListener::from_std(far.listener);
    let (one, other) = futures::join!(TcpStream::connect(address), listener.accept());
    (one.unwrap(), other.unwrap().0)
}

async fn echo(stream: TcpStream) {
    let (mut reader, mut writer) = stream.into_split();
    ringtoss::io::copy(&mut reader, &mut writer).await.unwrap();
    writer.shutdown().await.unwrap();
}

/// Sends that much, reads it back and checks it.
async fn there_and_back(stream: TcpStream, len: usize) {
    let (mut reader, mut writer) = stream.into_split();
    let sending = ringtoss::spawn(async move {
        for at in (0..len).step_by(10_000) {
            writer.write_all(pattern(at, 10_000.min(len - at))).await.0.unwrap();
        }
        writer.shutdown().await.unwrap();
    });
    let mut at = 0;
    loop {
        // Some reads are dropped: what they bring comes with the next.
        let read = reader.read(Vec::with_capacity(1 + at % 30_000));
        let Ok((result, buf)) = ringtoss::time::timeout(Duration::from_millis(3), read).await else { continue };
        if result.unwrap() == 0 {
            break;
        }
        check(&buf, at);
        at += buf.len();
    }
    assert_eq!(at, len);
    sending.await.unwrap();
}

#[test]
fn what_goes_through_a_bad_network_arrives_whole() {
    const LEN: usize = 2 << 20;
    in_network(BAD, 42, |network, far| {
        run(async {
            let (stream, other) = connect(far).await;
            let echo = ringtoss::spawn(echo(other));
            there_and_back(stream, LEN).await;
            echo.await.unwrap();
            quiet().await;
        });
        let counts = &network.counts;
        if network.by_kernel {
            return assert!(!treated("one").contains("dropped 0,"), "the weather was too good");
        }
        for count in [&counts.lost, &counts.late, &counts.twice] {
            assert!(count.load(Ordering::Relaxed) > 0, "the weather was too good");
        }
    });
}

#[test]
fn datagrams_of_a_bad_network_are_lost_repeated_or_late_and_never_changed() {
    const COUNT: usize = 3000;
    in_network(BAD, 43, |_, far| {
        run(async {
            let address = far.datagrams.local_addr().unwrap();
            let far = UdpSocket::from_std(far.datagrams);
            let near = UdpSocket::bind(SocketAddr::from((NEAR, 0))).await.unwrap();
            let source = near.local_addr().unwrap();
            let sending = ringtoss::spawn(async move {
                for number in 0..COUNT {
                    let bytes = [number.to_le_bytes().to_vec(), pattern(number, number % 1000)].concat();
                    near.send_to(bytes, address).await.0.unwrap();
                    if number % 16 == 0 {
                        ringtoss::time::sleep(Duration::from_millis(1)).await;
                    }
                }
                near
            });
            let mut seen = vec![0; COUNT];
            let mut disordered = 0;
            let mut last = 0;
            loop {
                let receive = far.recv_from(Vec::with_capacity(2000)).timeout(Duration::from_millis(200)).await;
                let (_, from) = match receive.0 {
                    Ok(received) => received,
                    Err(error) if error.kind() == ErrorKind::TimedOut && sending.is_finished() => break,
                    Err(error) if error.kind() == ErrorKind::TimedOut => continue,
                    Err(error) => panic!("{error}"),
                };
                assert_eq!(from, source);
                let bytes = receive.1;
                let number = usize::from_le_bytes(bytes[..8].try_into().unwrap());
                assert_eq!(bytes.len(), 8 + number % 1000);
                check(&bytes[8..], number);
                seen[number] += 1;
                disordered += usize::from(number < last);
                last = number;
            }
            let arrived = seen.iter().filter(|&&times| times > 0).count();
            assert!(arrived > COUNT / 2 && arrived < COUNT, "{arrived}");
            assert!(disordered > 0 && seen.iter().any(|&times| times > 1));
            sending.await.unwrap();
        });
    });
}

#[test]
fn a_reset_from_the_network_is_told_to_both_ends() {
    in_network(FINE, 44, |network, far| {
        run(async {
            let (mut stream, mut other) = connect(far).await;
            stream.write_all(pattern(0, 1000)).await.0.unwrap();
            let (result, buf) = other.read_exact(Vec::with_capacity(1000), 1000).await;
            result.unwrap();
            check(&buf, 0);
            network.switches.reset.store(true, Ordering::Relaxed);
            let read = ringtoss::spawn(async move { other.read(Vec::with_capacity(1000)).await.0 });
            stream.write_all(pattern(1000, 1000)).await.0.unwrap();
            assert_eq!(read.await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
            // The other end hears of it when it sends again: nobody is there any more.
            let error = loop {
                if let Err(error) = stream.write_all("x").await.0 {
                    break error;
                }
                ringtoss::time::sleep(Duration::from_millis(1)).await;
            };
            assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
            drop(stream);
            quiet().await;
        });
        assert_eq!(network.counts.reset.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_network_that_falls_silent_ends_in_the_errors_that_were_asked_for() {
    in_network(FINE, 45, |network, far| {
        run(async {
            let address = far.listener.local_addr().unwrap();
            let (mut stream, mut other) = connect(far).await;
            stream.write_all(pattern(0, 100)).await.0.unwrap();
            other.read_exact(Vec::with_capacity(100), 100).await.0.unwrap();
            network.switches.silent.store(true, Ordering::Relaxed);
            // A limit of ours.
            let (result, _) = other.read(Vec::with_capacity(8)).timeout(Duration::from_millis(30)).await;
            assert_eq!(result.unwrap_err().kind(), ErrorKind::TimedOut);
            let late = TcpStream::connect_timeout(address, Duration::from_millis(50)).await;
            assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
            // A limit of TCP's.
            stream.set_user_timeout(Some(Duration::from_millis(300))).unwrap();
            stream.write_all(pattern(100, 100)).await.0.unwrap();
            let error = stream.read(Vec::with_capacity(8)).await.0.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            // And when it comes back, what was not given up goes on.
            network.switches.silent.store(false, Ordering::Relaxed);
            drop((stream, other));
            quiet().await;
        });
    });
}

#[test]
fn a_pause_of_the_network_loses_nothing() {
    in_network(FINE, 46, |network, far| {
        run(async {
            let (stream, other) = connect(far).await;
            let echo = ringtoss::spawn(echo(other));
            let work = ringtoss::spawn(there_and_back(stream, 6 << 20));
            for _ in 0..4 {
                ringtoss::time::sleep(Duration::from_millis(20)).await;
                network.switches.silent.store(true, Ordering::Relaxed);
                ringtoss::time::sleep(Duration::from_millis(60)).await;
                network.switches.silent.store(false, Ordering::Relaxed);
            }
            work.await.unwrap();
            echo.await.unwrap();
        });
    });
}
