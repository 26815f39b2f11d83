//! What a descriptor is waited for, and what it is ready for.

use std::fmt;
use std::ops;

/// What to wait for. Errors and hang-ups are told in any case.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Interest(i16);

impl Interest {
    /// That it can be read from: `POLLIN`, `POLLRDHUP`.
    pub const READABLE: Interest = Interest(libc::POLLIN | libc::POLLRDHUP);
    /// That it can be written to: `POLLOUT`.
    pub const WRITABLE: Interest = Interest(libc::POLLOUT);
    /// That there is something exceptional, such as urgent data: `POLLPRI`.
    pub const PRIORITY: Interest = Interest(libc::POLLPRI);
    /// That there is an error, and nothing else.
    pub const ERROR: Interest = Interest(libc::POLLERR);

    /// Both.
    #[must_use]
    pub const fn add(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }

    /// This without the other; `None` if nothing is left.
    pub const fn remove(self, other: Interest) -> Option<Interest> {
        let left = self.0 & !other.0;
        if left == 0 { None } else { Some(Interest(left)) }
    }

    /// Whether all of the other is in this one.
    pub(super) const fn includes(self, other: Interest) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether [`Interest::READABLE`] is in it.
    pub const fn is_readable(self) -> bool {
        self.includes(Interest::READABLE)
    }

    /// Whether [`Interest::WRITABLE`] is in it.
    pub const fn is_writable(self) -> bool {
        self.includes(Interest::WRITABLE)
    }

    /// Whether [`Interest::PRIORITY`] is in it.
    pub const fn is_priority(self) -> bool {
        self.includes(Interest::PRIORITY)
    }

    /// Whether [`Interest::ERROR`] is in it.
    pub const fn is_error(self) -> bool {
        self.includes(Interest::ERROR)
    }

    pub(super) const fn events(self) -> i16 {
        self.0
    }
}

impl ops::BitOr for Interest {
    type Output = Interest;

    fn bitor(self, other: Interest) -> Interest {
        self.add(other)
    }
}

impl ops::BitOrAssign for Interest {
    fn bitor_assign(&mut self, other: Interest) {
        *self = self.add(other);
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (self.is_readable(), "READABLE"),
            (self.is_writable(), "WRITABLE"),
            (self.is_priority(), "PRIORITY"),
            (self.is_error(), "ERROR"),
        ];
        names_of(f, names)
    }
}

fn names_of<const N: usize>(f: &mut fmt::Formatter<'_>, names: [(bool, &str); N]) -> fmt::Result {
    let names: Vec<&str> = names.into_iter().filter(|(holds, _)| *holds).map(|(_, name)| name).collect();
    f.write_str(&names.join(" | "))
}

/// What a descriptor is ready for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ready(i16);

impl Ready {
    /// Nothing.
    pub const EMPTY: Ready = Ready(0);
    /// That it can be read from: `POLLIN`.
    pub const READABLE: Ready = Ready(libc::POLLIN);
    /// That it can be written to: `POLLOUT`.
    pub const WRITABLE: Ready = Ready(libc::POLLOUT);
    /// That nothing comes behind what is there to be read: `POLLRDHUP`.
    pub const READ_CLOSED: Ready = Ready(libc::POLLRDHUP);
    /// That nothing can be written any more: `POLLHUP`.
    pub const WRITE_CLOSED: Ready = Ready(libc::POLLHUP);
    /// That there is something exceptional: `POLLPRI`.
    pub const PRIORITY: Ready = Ready(libc::POLLPRI);
    /// That there is an error: `POLLERR`.
    pub const ERROR: Ready = Ready(libc::POLLERR);

    pub(super) const fn from_events(events: i16) -> Ready {
        Ready(events)
    }

    /// `revents` of `poll(2)`.
    pub const fn events(self) -> i16 {
        self.0
    }

    const fn has(self, events: i16) -> bool {
        self.0 & events != 0
    }

    /// Whether it is ready for nothing.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether a read would not wait: there is something, or the end, or an error.
    pub const fn is_readable(self) -> bool {
        self.has(libc::POLLIN | libc::POLLRDHUP | libc::POLLHUP)
    }

    /// Whether a write would not wait: there is room, or nobody to write to.
    pub const fn is_writable(self) -> bool {
        self.has(libc::POLLOUT) || self.is_write_closed()
    }

    /// Whether nothing comes behind what is there to be read: `POLLHUP`, `POLLRDHUP`.
    pub const fn is_read_closed(self) -> bool {
        self.has(libc::POLLHUP | libc::POLLRDHUP)
    }

    /// Whether nothing can be written any more: `POLLHUP`, or `POLLERR` where that says so (a pipe without a reader).
    pub const fn is_write_closed(self) -> bool {
        self.has(libc::POLLHUP) || (self.has(libc::POLLERR) && (self.has(libc::POLLOUT) || self.0 == libc::POLLERR))
    }

    /// Whether there is something exceptional: `POLLPRI`.
    pub const fn is_priority(self) -> bool {
        self.has(libc::POLLPRI)
    }

    /// Whether there is an error: `POLLERR`.
    pub const fn is_error(self) -> bool {
        self.has(libc::POLLERR)
    }
}

impl ops::BitOr for Ready {
    type Output = Ready;

    fn bitor(self, other: Ready) -> Ready {
        Ready(self.0 | other.0)
    }
}

impl ops::BitOrAssign for Ready {
    fn bitor_assign(&mut self, other: Ready) {
        *self = *self | other;
    }
}

impl ops::BitAnd for Ready {
    type Output = Ready;

    fn bitand(self, other: Ready) -> Ready {
        Ready(self.0 & other.0)
    }
}

impl ops::Sub for Ready {
    type Output = Ready;

    fn sub(self, other: Ready) -> Ready {
        Ready(self.0 & !other.0)
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (self.is_empty(), "EMPTY"),
            (self.is_readable(), "READABLE"),
            (self.is_writable(), "WRITABLE"),
            (self.is_read_closed(), "READ_CLOSED"),
            (self.is_write_closed(), "WRITE_CLOSED"),
            (self.is_priority(), "PRIORITY"),
            (self.is_error(), "ERROR"),
        ];
        names_of(f, names)
    }
}
