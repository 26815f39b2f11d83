//! What production does to a program: disks that are full, fail or tear, networks that lose, reorder and reset, peers that
//! stall or never read, kills in the middle, processes that stop, clocks that are set, crowds. What a machine does not
//! permit is left out and says so.
#![allow(unsafe_code, reason = "mounts, namespaces, signals and limits are system calls")]

mod clocks;
mod crowds;
mod disk;
mod failing_device;
mod faulty_disk;
mod forked;
mod killed;
mod network;
mod peers;
mod stopped;
mod util;

/// Not a test of its own: what other processes run.
#[test]
fn child() {
    let Ok(role) = std::env::var(util::ROLE) else { return };
    let words: Vec<&str> = role.split(' ').collect();
    match words[0] {
        "records" => killed::write_records(words[1].as_ref()),
        "replaces" => killed::replace_again_and_again(words[1].as_ref()),
        "disk" => faulty_disk::serve(words[1].as_ref(), words[2]),
        "echo" => stopped::echo(),
        "ticks" => stopped::ticks(std::time::Duration::from_millis(words[1].parse().unwrap())),
        "swallow" => stopped::swallow(words[1].parse().unwrap()),
        "namespace" => clocks::enter_namespace(),
        "timers" => clocks::timers(),
        "crowd" => crowds::clients(words[1].parse().unwrap(), words[2].parse().unwrap()),
        other => panic!("no such role: {other}"),
    }
}
