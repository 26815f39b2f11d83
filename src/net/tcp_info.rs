//! What the kernel knows of a connection: `TCP_INFO`.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use super::TcpStream;
use crate::sys;

/// `struct tcp_info` of `linux/tcp.h`. Older kernels write less, and the rest stays 0.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct RawInfo {
    state: u8,
    ca_state: u8,
    retransmits: u8,
    probes: u8,
    backoff: u8,
    options: u8,
    scales: u8,
    bits: u8,
    rto: u32,
    ato: u32,
    snd_mss: u32,
    rcv_mss: u32,
    unacked: u32,
    sacked: u32,
    lost: u32,
    retrans: u32,
    fackets: u32,
    last_data_sent: u32,
    last_ack_sent: u32,
    last_data_recv: u32,
    last_ack_recv: u32,
    pmtu: u32,
    rcv_ssthresh: u32,
    rtt: u32,
    rttvar: u32,
    snd_ssthresh: u32,
    snd_cwnd: u32,
    advmss: u32,
    reordering: u32,
    rcv_rtt: u32,
    rcv_space: u32,
    total_retrans: u32,
    pacing_rate: u64,
    max_pacing_rate: u64,
    bytes_acked: u64,
    bytes_received: u64,
    segs_out: u32,
    segs_in: u32,
    notsent_bytes: u32,
    min_rtt: u32,
    data_segs_in: u32,
    data_segs_out: u32,
    delivery_rate: u64,
    busy_time: u64,
    rwnd_limited: u64,
    sndbuf_limited: u64,
    delivered: u32,
    delivered_ce: u32,
    bytes_sent: u64,
    bytes_retrans: u64,
    dsack_dups: u32,
    reord_seen: u32,
    rcv_ooopack: u32,
    snd_wnd: u32,
}

const _: () = assert!(size_of::<RawInfo>() == 232);

/// The state of a TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names of RFC 9293")]
pub enum TcpState {
    Established,
    SynSent,
    SynReceived,
    FinWait1,
    FinWait2,
    TimeWait,
    Close,
    CloseWait,
    LastAck,
    Listen,
    Closing,
    /// One that this crate does not know.
    Other(u8),
}

impl TcpState {
    fn of(number: u8) -> TcpState {
        match number {
            1 => TcpState::Established,
            2 => TcpState::SynSent,
            3 | 12 => TcpState::SynReceived,
            4 => TcpState::FinWait1,
            5 => TcpState::FinWait2,
            6 => TcpState::TimeWait,
            7 => TcpState::Close,
            8 => TcpState::CloseWait,
            9 => TcpState::LastAck,
            10 => TcpState::Listen,
            11 => TcpState::Closing,
            other => TcpState::Other(other),
        }
    }
}

/// What the kernel knows of a TCP connection: made by [`TcpStream::info`]. What the running kernel does not tell is 0.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpInfo {
    /// Its state.
    pub state: TcpState,
    /// Retransmissions of the segment that is waited for.
    pub retransmits: u8,
    /// Probes of a closed window, or for signs of life, without an answer yet.
    pub probes: u8,
    /// How often the retransmission timeout was doubled.
    pub backoff: u8,
    /// Both ends use timestamps.
    pub timestamps: bool,
    /// Both ends use selective acknowledgements.
    pub sack: bool,
    /// Both ends take congestion marks.
    pub ecn: bool,
    /// Bytes that were sent with the connection's first segment were taken (fast open).
    pub syn_data_acked: bool,
    /// By how many bits the peer's window is scaled, if both ends scale.
    pub snd_wscale: Option<u8>,
    /// The same of this end's.
    pub rcv_wscale: Option<u8>,
    /// The retransmission timeout.
    pub rto: Duration,
    /// The timeout of delayed acknowledgements.
    pub ato: Duration,
    /// Bytes of a segment that is sent, at most.
    pub snd_mss: u32,
    /// Bytes of a segment that is received, as estimated.
    pub rcv_mss: u32,
    /// Segments that were sent and are not acknowledged. Of a listener: connections that wait to be accepted.
    pub unacked: u32,
    /// Segments that were acknowledged out of order. Of a listener: how many connections may wait.
    pub sacked: u32,
    /// Segments that are taken for lost.
    pub lost: u32,
    /// Segments that are being retransmitted.
    pub retrans: u32,
    /// Time since the last data were sent.
    pub last_data_sent: Duration,
    /// Time since the last data were received.
    pub last_data_recv: Duration,
    /// Time since the last acknowledgement was received.
    pub last_ack_recv: Duration,
    /// The largest packet that the path takes, in bytes.
    pub pmtu: u32,
    /// The smoothed round-trip time.
    pub rtt: Duration,
    /// How much it varies.
    pub rtt_var: Duration,
    /// The smallest round-trip time seen lately; `None` if none was.
    pub min_rtt: Option<Duration>,
    /// The round-trip time as seen by the receiver.
    pub rcv_rtt: Duration,
    /// The slow-start threshold, in segments; `None` before congestion was met.
    pub snd_ssthresh: Option<u32>,
    /// The congestion window, in segments.
    pub snd_cwnd: u32,
    /// The peer's window, in bytes.
    pub snd_wnd: u32,
    /// Bytes of a segment that were advertised.
    pub advmss: u32,
    /// By how many segments packets are reordered on the way.
    pub reordering: u32,
    /// Room in the receive buffer, in bytes.
    pub rcv_space: u32,
    /// Retransmissions in all, segments.
    pub total_retrans: u32,
    /// The rate at which it sends, in bytes per second; `None`: as fast as it can.
    pub pacing_rate: Option<u64>,
    /// The rate above which it may not send.
    pub max_pacing_rate: Option<u64>,
    /// Bytes that the peer has acknowledged.
    pub bytes_acked: u64,
    /// Bytes that were received.
    pub bytes_received: u64,
    /// Bytes that were sent, retransmissions included.
    pub bytes_sent: u64,
    /// Bytes that were sent again.
    pub bytes_retrans: u64,
    /// Bytes that lie in the send buffer and were never sent.
    pub notsent_bytes: u32,
    /// Segments that were sent.
    pub segs_out: u32,
    /// Segments that were received.
    pub segs_in: u32,
    /// Those with data.
    pub data_segs_out: u32,
    /// Those with data.
    pub data_segs_in: u32,
    /// The rate at which data last arrived at the peer, in bytes per second.
    pub delivery_rate: u64,
    /// That rate was limited by what there was to send.
    pub delivery_rate_app_limited: bool,
    /// Time with something to send.
    pub busy_time: Duration,
    /// Of that, time limited by the peer's window.
    pub rwnd_limited: Duration,
    /// Of that, time limited by the send buffer.
    pub sndbuf_limited: Duration,
    /// Segments that have arrived.
    pub delivered: u32,
    /// Of those, with a mark of congestion.
    pub delivered_ce: u32,
    /// Segments that were received out of order.
    pub rcv_ooopack: u32,
}

impl From<RawInfo> for TcpInfo {
    fn from(raw: RawInfo) -> TcpInfo {
        let option = |bit: u8| raw.options & bit != 0;
        let micros = |time: u32| Duration::from_micros(time.into());
        let millis = |time: u32| Duration::from_millis(time.into());
        let limit = |rate: u64| (rate != u64::MAX && rate != 0).then_some(rate);
        let (low, high) = (raw.scales & 0xf, raw.scales >> 4);
        let (snd, rcv) = if cfg!(target_endian = "big") { (high, low) } else { (low, high) };
        let app_limited = if cfg!(target_endian = "big") { 0x80 } else { 1 };
        TcpInfo {
            state: TcpState::of(raw.state),
            retransmits: raw.retransmits,
            probes: raw.probes,
            backoff: raw.backoff,
            timestamps: option(1),
            sack: option(2),
            ecn: option(8),
            syn_data_acked: option(32),
            snd_wscale: option(4).then_some(snd),
            rcv_wscale: option(4).then_some(rcv),
            rto: micros(raw.rto),
            ato: micros(raw.ato),
            snd_mss: raw.snd_mss,
            rcv_mss: raw.rcv_mss,
            unacked: raw.unacked,
            sacked: raw.sacked,
            lost: raw.lost,
            retrans: raw.retrans,
            last_data_sent: millis(raw.last_data_sent),
            last_data_recv: millis(raw.last_data_recv),
            last_ack_recv: millis(raw.last_ack_recv),
            pmtu: raw.pmtu,
            rtt: micros(raw.rtt),
            rtt_var: micros(raw.rttvar),
            min_rtt: (raw.min_rtt != u32::MAX && raw.min_rtt != 0).then(|| micros(raw.min_rtt)),
            rcv_rtt: micros(raw.rcv_rtt),
            // `TCP_INFINITE_SSTHRESH`.
            snd_ssthresh: (raw.snd_ssthresh < 0x7fff_ffff).then_some(raw.snd_ssthresh),
            snd_cwnd: raw.snd_cwnd,
            snd_wnd: raw.snd_wnd,
            advmss: raw.advmss,
            reordering: raw.reordering,
            rcv_space: raw.rcv_space,
            total_retrans: raw.total_retrans,
            pacing_rate: limit(raw.pacing_rate),
            max_pacing_rate: limit(raw.max_pacing_rate),
            bytes_acked: raw.bytes_acked,
            bytes_received: raw.bytes_received,
            bytes_sent: raw.bytes_sent,
            bytes_retrans: raw.bytes_retrans,
            notsent_bytes: raw.notsent_bytes,
            segs_out: raw.segs_out,
            segs_in: raw.segs_in,
            data_segs_out: raw.data_segs_out,
            data_segs_in: raw.data_segs_in,
            delivery_rate: raw.delivery_rate,
            delivery_rate_app_limited: raw.bits & app_limited != 0,
            busy_time: Duration::from_micros(raw.busy_time),
            rwnd_limited: Duration::from_micros(raw.rwnd_limited),
            sndbuf_limited: Duration::from_micros(raw.sndbuf_limited),
            delivered: raw.delivered,
            delivered_ce: raw.delivered_ce,
            rcv_ooopack: raw.rcv_ooopack,
        }
    }
}

impl TcpStream {
    /// What the kernel knows of the connection: round-trip times, windows, losses, counts. `TCP_INFO`, `tcp(7)`.
    ///
    /// ```
    /// # ringtoss::block_on(async {
    /// # let listener = ringtoss::net::TcpListener::bind("127.0.0.1:0").await?;
    /// # let mut stream = ringtoss::net::TcpStream::connect(listener.local_addr()?).await?;
    /// stream.write_all("hello").await.0?;
    /// let info = stream.info()?;
    /// assert_eq!((info.state, info.bytes_sent), (ringtoss::net::TcpState::Established, 5));
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn info(&self) -> io::Result<TcpInfo> {
        sys::option::<RawInfo>(self.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO).map(TcpInfo::from)
    }
}
