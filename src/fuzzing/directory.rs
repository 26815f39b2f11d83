//! What `getdents64(2)` wrote.

use super::Input;
use crate::sys::Entries;

/// Records that are whole come out as they went in; whatever the bytes, each name lies in its record.
pub fn directory(data: &[u8]) {
    let mut entries = Entries::of(data.to_vec());
    let mut count = 0;
    while let Some(entry) = entries.next() {
        assert!(entry.name.count_bytes() < data.len() && entry.name != c"." && entry.name != c"..");
        count += 1;
    }
    // The least that a record takes is its head and one byte.
    assert!(count <= data.len() / 20);
    assert!(entries.next().is_none());

    let mut input = Input(data);
    let (mut bytes, mut expected) = (Vec::new(), Vec::new());
    while !input.is_empty() && bytes.len() < 30_000 {
        let (ino, kind, len) = (u64::from(input.u32()), input.u8() % 16, usize::from(input.u8()));
        let name: Vec<u8> = input.bytes(len).iter().copied().filter(|&byte| byte != 0 && byte != b'/').collect();
        let len = (19 + name.len() + 1).next_multiple_of(8);
        let start = bytes.len();
        bytes.extend_from_slice(&ino.to_ne_bytes());
        bytes.extend_from_slice(&[0xff; 8]);
        bytes.extend_from_slice(&(len as u16).to_ne_bytes());
        bytes.push(kind);
        bytes.extend_from_slice(&name);
        bytes.resize(start + len, 0);
        if name != b"." && name != b".." {
            expected.push((ino, u32::from(kind) << 12, name));
        }
    }
    let mut entries = Entries::of(bytes);
    for (ino, format, name) in expected {
        let entry = entries.next().expect("it was written");
        assert_eq!((entry.ino, entry.format, entry.name.to_bytes()), (ino, format, &name[..]));
    }
    assert!(entries.next().is_none());
}
