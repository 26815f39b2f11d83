//! Control messages, and buffers in which the kernel has put a datagram with what belongs to it.

use super::Input;
use crate::net::SockAddr;
use crate::net::udp::UdpMessage;
use crate::op::fuzzed_datagram;
use crate::sys::ancillary::{append, messages, number, space};

/// What is read of control messages lies within them, and what was written is read.
pub fn ancillary(data: &[u8]) {
    let within = |part: &[u8], whole: &[u8]| {
        let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
        whole.start <= part.start && part.end <= whole.end
    };
    let mut total = 0;
    for (_, _, part) in messages(data) {
        assert!(within(part, data));
        let _ = number(part);
        total += part.len();
    }
    assert!(total <= data.len());

    // The same bytes as what the kernel wrote into a buffer of a multishot receive.
    if let Ok((len, message)) = fuzzed_datagram::<UdpMessage>(data) {
        assert!(len == message.len && len <= data.len());
    }
    let _ = fuzzed_datagram::<FromAnyone>(data);

    // And as messages to be written.
    let mut input = Input(data);
    let (mut bytes, mut written) = (Vec::new(), Vec::new());
    while !input.is_empty() && written.len() < 20 {
        let (level, kind) = (i32::from(input.u8()), i32::from(input.u8()));
        let len = usize::from(input.u8() % 40);
        let part = input.bytes(len);
        let before = bytes.len();
        append(&mut bytes, level, kind, part);
        assert_eq!(bytes.len() - before, space(part.len()));
        written.push((level, kind, part));
    }
    assert_eq!(messages(&bytes).collect::<Vec<_>>(), written);
    // Cut off anywhere, what is left of it is a beginning of what it was.
    let cut = usize::from(input.u8()) % (bytes.len() + 1);
    for (got, was) in messages(&bytes[..cut]).zip(&written) {
        assert!((got.0, got.1) == (was.0, was.1) && was.2.starts_with(got.2));
    }
    assert!(messages(&bytes[..cut]).count() <= written.len());
}

/// A receiver with a name of every kind and little room for control messages.
struct FromAnyone;

impl crate::op::Receives for FromAnyone {
    type Output = Option<SockAddr>;
    const HEADER: bool = true;
    const CONTROL_BYTES: usize = 40;
    const TELLS_END: bool = true;

    fn received(details: crate::op::Details<'_>) -> std::io::Result<Option<SockAddr>> {
        details.from().map(Some)
    }
}
