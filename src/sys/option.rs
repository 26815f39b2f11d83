//! Socket options with the types of their values: `getsockopt(2)`, `setsockopt(2)`. Neither call blocks.

use std::io;
use std::marker::PhantomData;
use std::os::fd::RawFd;
use std::time::Duration;

use super::{check, option, set_option};

/// How the kernel writes a value.
pub(crate) trait Coding {
    type Value;
    /// Valid for any bytes.
    type Raw: Copy + Default;
    fn decode(raw: Self::Raw) -> Self::Value;
    fn encode(value: Self::Value) -> Self::Raw;
}

/// An option: where it is, and how its value is written.
pub(crate) struct SocketOption<C> {
    level: libc::c_int,
    name: libc::c_int,
    _coding: PhantomData<fn() -> C>,
}

impl<C: Coding> SocketOption<C> {
    pub(crate) const fn new(level: libc::c_int, name: libc::c_int) -> SocketOption<C> {
        SocketOption { level, name, _coding: PhantomData }
    }

    pub(crate) fn get(&self, fd: RawFd) -> io::Result<C::Value> {
        option(fd, self.level, self.name).map(C::decode)
    }

    pub(crate) fn set(&self, fd: RawFd, value: C::Value) -> io::Result<()> {
        set_option(fd, self.level, self.name, C::encode(value))
    }
}

/// On or off.
pub(crate) struct Flag;

impl Coding for Flag {
    type Value = bool;
    type Raw = libc::c_int;
    fn decode(raw: libc::c_int) -> bool {
        raw != 0
    }
    fn encode(value: bool) -> libc::c_int {
        value.into()
    }
}

/// A number, of which the kernel sees all 32 bits and refuses what it does not take.
pub(crate) struct Number;

impl Coding for Number {
    type Value = u32;
    type Raw = libc::c_int;
    fn decode(raw: libc::c_int) -> u32 {
        raw as u32
    }
    fn encode(value: u32) -> libc::c_int {
        value as libc::c_int
    }
}

/// A number, or none, which is negative.
pub(crate) struct MaybeNumber;

impl Coding for MaybeNumber {
    type Value = Option<u32>;
    type Raw = libc::c_int;
    fn decode(raw: libc::c_int) -> Option<u32> {
        raw.try_into().ok()
    }
    fn encode(value: Option<u32>) -> libc::c_int {
        value.map_or(-1, |value| value.try_into().unwrap_or(libc::c_int::MAX))
    }
}

fn whole(time: Duration, unit: Duration) -> libc::c_int {
    time.as_nanos().div_ceil(unit.as_nanos()).try_into().unwrap_or(libc::c_int::MAX)
}

fn times(unit: Duration, raw: libc::c_int) -> Duration {
    unit.saturating_mul(raw.try_into().unwrap_or(0))
}

/// A time in seconds, of which parts count as whole ones: 0 would mean something else.
pub(crate) struct Seconds;

impl Coding for Seconds {
    type Value = Duration;
    type Raw = libc::c_int;
    fn decode(raw: libc::c_int) -> Duration {
        times(Duration::from_secs(1), raw)
    }
    fn encode(value: Duration) -> libc::c_int {
        whole(value, Duration::from_secs(1))
    }
}

/// The same in microseconds.
pub(crate) struct Microseconds;

impl Coding for Microseconds {
    type Value = Duration;
    type Raw = libc::c_int;
    fn decode(raw: libc::c_int) -> Duration {
        times(Duration::from_micros(1), raw)
    }
    fn encode(value: Duration) -> libc::c_int {
        whole(value, Duration::from_micros(1))
    }
}

/// The same in milliseconds, or none, which is 0.
pub(crate) struct MaybeMilliseconds;

impl Coding for MaybeMilliseconds {
    type Value = Option<Duration>;
    type Raw = libc::c_int;
    fn decode(raw: libc::c_int) -> Option<Duration> {
        (raw != 0).then(|| times(Duration::from_millis(1), raw))
    }
    fn encode(value: Option<Duration>) -> libc::c_int {
        value.map_or(0, |value| whole(value, Duration::from_millis(1)).max(1))
    }
}

/// `getsockopt(2)` of a short text: what there is before a NUL.
pub(crate) fn option_text(fd: RawFd, level: libc::c_int, name: libc::c_int) -> io::Result<Vec<u8>> {
    let mut buf = [0; 64];
    // SAFETY: all that the value held before are zeros.
    let len = unsafe { option_bytes(fd, level, name, &mut buf) }?;
    Ok(buf[..len].split(|&byte| byte == 0).next().unwrap_or_default().to_vec())
}

/// Binds a socket to the device of this name; an empty one takes it back.
pub(crate) fn bind_device(fd: RawFd, name: &[u8]) -> io::Result<()> {
    // SAFETY: the value of this option is a name.
    unsafe { set_option_bytes(fd, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, name) }
}

/// Chooses the algorithm of congestion control.
pub(crate) fn set_congestion(fd: RawFd, name: &str) -> io::Result<()> {
    // SAFETY: the value of this option is a name.
    unsafe { set_option_bytes(fd, libc::IPPROTO_TCP, libc::TCP_CONGESTION, name.as_bytes()) }
}

/// `setsockopt(2)` with bytes.
///
/// # Safety
/// If the option is one whose value holds addresses, then what lies there is the caller's.
pub(crate) unsafe fn set_option_bytes(
    fd: RawFd,
    level: libc::c_int,
    name: libc::c_int,
    bytes: &[u8],
) -> io::Result<()> {
    let len = bytes.len().try_into().map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: the bytes live over the call and their length is passed; what they may point to is the caller's.
    check(unsafe { libc::setsockopt(fd, level, name, bytes.as_ptr().cast(), len) }).map(drop)
}

/// `getsockopt(2)` into bytes; gives how many there are.
///
/// # Safety
/// If the option is one that is asked for with addresses in those bytes, then what lies there is the caller's.
pub(crate) unsafe fn option_bytes(
    fd: RawFd,
    level: libc::c_int,
    name: libc::c_int,
    bytes: &mut [u8],
) -> io::Result<usize> {
    let mut len = bytes.len().try_into().map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: the bytes and their length live over the call, which writes at most `len` bytes; what they may point to is the
    // caller's.
    check(unsafe { libc::getsockopt(fd, level, name, bytes.as_mut_ptr().cast(), &raw mut len) })?;
    Ok(bytes.len().min(len as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_never_rounded_to_nothing() {
        assert_eq!(Seconds::encode(Duration::from_millis(1)), 1);
        assert_eq!(Seconds::encode(Duration::from_secs(7)), 7);
        assert_eq!(Seconds::encode(Duration::MAX), libc::c_int::MAX);
        assert_eq!(Microseconds::encode(Duration::from_nanos(1001)), 2);
        assert_eq!(MaybeMilliseconds::encode(Some(Duration::ZERO)), 1);
        assert_eq!(MaybeMilliseconds::encode(None), 0);
        assert_eq!(MaybeMilliseconds::decode(1500), Some(Duration::from_millis(1500)));
        assert_eq!((MaybeMilliseconds::decode(0), Seconds::decode(9)), (None, Duration::from_secs(9)));
        assert_eq!((MaybeNumber::decode(-1), MaybeNumber::encode(None), MaybeNumber::decode(3)), (None, -1, Some(3)));
    }
}
