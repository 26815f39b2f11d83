//! Bytes from which can be told where in a stream they belong.

/// The byte at a place of a stream, from which the place can be told.
pub fn byte_at(place: usize) -> u8 {
    ((place as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 53) as u8
}

/// The bytes from a place on.
pub fn pattern(place: usize, len: usize) -> Vec<u8> {
    (place..place + len).map(byte_at).collect()
}

/// Checks that these are the bytes from a place on.
#[track_caller]
pub fn check(bytes: &[u8], place: usize) {
    for (index, &byte) in bytes.iter().enumerate() {
        assert_eq!(byte, byte_at(place + index), "byte {index} of {} at {place}", bytes.len());
    }
}
