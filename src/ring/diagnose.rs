//! Why no ring could be had, in words: the cause and the fix.

use std::error::Error;
use std::fmt;
use std::io;

use crate::sys;

/// The error inside the `io::Error` of a loop that could not be built.
#[derive(Debug)]
struct NoRing {
    message: String,
    source: io::Error,
}

impl fmt::Display for NoRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for NoRing {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// What the machine says about itself, apart from the error, so that the wording can be tested.
#[derive(Debug, Default)]
struct Facts {
    release: String,
    /// `/proc/sys/kernel/io_uring_disabled`, where it can be read.
    disabled: Option<u32>,
    /// Whether a seccomp filter is on this thread.
    seccomp: Option<bool>,
    memlock: u64,
    nofile: u64,
}

impl Facts {
    fn gather() -> Facts {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let seccomp = read("/proc/thread-self/status").and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("Seccomp:"))?;
            Some(line.trim() == "2")
        });
        let (memlock, nofile) = sys::memlock_and_nofile();
        Facts {
            release: sys::kernel_release(),
            disabled: read("/proc/sys/kernel/io_uring_disabled").and_then(|text| text.trim().parse().ok()),
            seccomp,
            memlock,
            nofile,
        }
    }

    fn older_than_floor(&self) -> bool {
        let mut numbers = self.release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().ok());
        match (numbers.next().flatten(), numbers.next().flatten()) {
            (Some(major), Some(minor)) => (major, minor) < (6, 1),
            _ => false,
        }
    }
}

/// Gives an error of ring set-up the same kind and a message that names the cause and the fix.
pub(crate) fn explain(error: io::Error) -> io::Error {
    let message = message(&error, &Facts::gather());
    io::Error::new(error.kind(), NoRing { message, source: error })
}

/// The same for memory that could not be registered.
pub(crate) fn explain_memory(error: io::Error) -> io::Error {
    if error.raw_os_error() != Some(libc::ENOMEM) {
        return error;
    }
    let (memlock, _) = sys::memlock_and_nofile();
    let message = format!(
        "the buffers cannot be registered: together with what is already, they exceed RLIMIT_MEMLOCK ({memlock} bytes for \
         this process), or memory is short. Fix: raise the limit (ulimit -l, LimitMEMLOCK= in systemd, --ulimit memlock= \
         in Docker), or ask for fewer or smaller buffers [{error}]"
    );
    io::Error::new(error.kind(), NoRing { message, source: error })
}

const SECCOMP: &str = "a seccomp filter denies io_uring (Docker's and Podman's default profiles do). \
     Fix: run the container with a profile that allows io_uring_setup, io_uring_enter and io_uring_register \
     (docker run --security-opt seccomp=PROFILE.json; 'unconfined' to try it out), \
     or in systemd remove them from SystemCallFilter";

const SYSCTL: &str = "sysctl kernel.io_uring_disabled forbids it. Fix: sysctl -w kernel.io_uring_disabled=0";

fn message(error: &io::Error, facts: &Facts) -> String {
    let release = &facts.release;
    let cause = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => match facts.disabled {
            Some(2) => "sysctl kernel.io_uring_disabled=2 forbids io_uring to every process. \
                 Fix: sysctl -w kernel.io_uring_disabled=0 (or 1 with the process in the group kernel.io_uring_group)"
                .to_string(),
            Some(1) if facts.seccomp != Some(true) => {
                "sysctl kernel.io_uring_disabled=1 forbids io_uring to processes without CAP_SYS_ADMIN outside the group \
                 kernel.io_uring_group. Fix: sysctl -w kernel.io_uring_disabled=0, or set kernel.io_uring_group to a group \
                 of this process"
                    .to_string()
            }
            None if facts.seccomp.is_none() => format!("without /proc it cannot be told what denies it. Perhaps {SECCOMP}; perhaps {SYSCTL}"),
            _ => SECCOMP.to_string(),
        },
        Some(libc::ENOSYS) if facts.older_than_floor() => too_old(release),
        Some(libc::ENOSYS) if facts.seccomp == Some(true) => SECCOMP.to_string(),
        Some(libc::ENOSYS) => format!(
            "the kernel ({release}) has no io_uring: it was built without CONFIG_IO_URING, or a sandbox (seccomp, gVisor) \
             hides it. Fix: use a kernel with io_uring, or allow its system calls in the sandbox"
        ),
        Some(libc::ENOMEM) => format!(
            "the ring's memory exceeds RLIMIT_MEMLOCK ({} bytes for this process), or memory is short. \
             Fix: raise the limit (ulimit -l, LimitMEMLOCK= in systemd, --ulimit memlock= in Docker), \
             or build a smaller ring (EventLoop::builder().submission_entries(64))",
            facts.memlock
        ),
        Some(libc::EMFILE) => format!(
            "this process is at its limit of open files, RLIMIT_NOFILE ({}). \
             Fix: raise it (ulimit -n, LimitNOFILE= in systemd), or close descriptors; a loop needs two",
            facts.nofile
        ),
        Some(libc::ENFILE) => {
            "the whole machine is at its limit of open files. Fix: sysctl -w fs.file-max=…, or close descriptors".to_string()
        }
        Some(libc::EINVAL) if facts.older_than_floor() => too_old(release),
        Some(libc::EINVAL) => format!(
            "the kernel ({release}) refuses the ring's flags (SINGLE_ISSUER, DEFER_TASKRUN, COOP_TASKRUN, TASKRUN_FLAG, \
             SUBMIT_ALL need Linux 6.1), or the sizes asked for are none that a ring can have"
        ),
        _ => format!("the kernel ({release}) refused it"),
    };
    format!("no io_uring could be set up: {cause} [{error}]")
}

fn too_old(release: &str) -> String {
    format!(
        "the kernel is too old: this is Linux {release}, ringtoss needs 6.1 or newer \
         (Debian 12, Ubuntu 24.04, Amazon Linux 2023). Fix: boot a newer kernel"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(errno: i32, facts: Facts) -> String {
        message(&io::Error::from_raw_os_error(errno), &facts)
    }

    fn modern() -> Facts {
        Facts { release: "6.18.1".into(), disabled: Some(0), seccomp: Some(false), memlock: 65536, nofile: 64 }
    }

    #[test]
    fn each_cause_is_named_with_its_fix() {
        assert!(text(libc::EPERM, Facts { disabled: Some(2), ..modern() }).contains("io_uring_disabled=2"));
        assert!(text(libc::EPERM, Facts { disabled: Some(1), ..modern() }).contains("io_uring_group"));
        assert!(text(libc::EPERM, modern()).contains("seccomp"));
        let blind = text(libc::EPERM, Facts { disabled: None, seccomp: None, ..modern() });
        assert!(blind.contains("without /proc") && blind.contains("seccomp") && blind.contains("io_uring_disabled"));
        assert!(text(libc::ENOSYS, Facts { seccomp: Some(true), ..modern() }).contains("seccomp"));
        assert!(text(libc::ENOSYS, modern()).contains("CONFIG_IO_URING"));
        assert!(text(libc::ENOMEM, modern()).contains("RLIMIT_MEMLOCK (65536"));
        assert!(text(libc::EMFILE, modern()).contains("RLIMIT_NOFILE (64)"));
        assert!(text(libc::EINVAL, Facts { release: "5.10.0-9-amd64".into(), ..modern() }).contains("needs 6.1"));
        assert!(text(libc::ENOSYS, Facts { release: "5.0.1".into(), ..modern() }).contains("needs 6.1"));
        for errno in [libc::EPERM, libc::ENOSYS, libc::ENOMEM, libc::EMFILE, libc::ENFILE] {
            assert!(text(errno, modern()).contains("Fix: "), "{}", text(errno, modern()));
        }
    }

    #[test]
    fn releases_are_compared_as_numbers() {
        for (release, old) in
            [("6.1.0", false), ("6.0.19", true), ("10.0", false), ("6.18.44-fc", false), ("odd", false)]
        {
            assert_eq!(Facts { release: release.into(), ..modern() }.older_than_floor(), old, "{release}");
        }
    }
}
