//! What is set on the builder reaches the program; what cannot be started says why.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use ringtoss::process::Command;

use crate::{is_child, run, shell};

async fn says(command: &mut Command) -> String {
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn arguments_environment_and_directory_reach_it() {
    run(async {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $0 $1 $ONE $TWO; pwd"]).arg("zero").arg("one");
        command.env("ONE", "1").envs([("TWO", "2"), ("THREE", "3")]).current_dir("/");
        assert_eq!(says(&mut command).await, "zero one 1 2\n/\n");
        // The builder can be used again.
        command.env_remove("TWO");
        assert_eq!(says(&mut command).await, "zero one 1\n/\n");
        let mut env = Command::new("/usr/bin/env");
        env.env_clear().env("ONLY", "this");
        assert_eq!(says(&mut env).await, "ONLY=this\n");
    });
}

#[test]
fn name_group_and_user_are_set() {
    run(async {
        let mut named = shell("tr '\\0' ' ' < /proc/$$/cmdline");
        assert!(says(named.arg0("another-name")).await.starts_with("another-name -c"));
        // The fifth field is the process group, and it is the process's own.
        let mut grouped = shell("cut -d' ' -f1,5 /proc/$$/stat");
        let line = says(grouped.process_group(0)).await;
        let (pid, group) = line.trim().split_once(' ').unwrap();
        assert_eq!(pid, group);
        if rustix::process::geteuid().is_root() {
            assert_eq!(says(shell("id -u; id -g").uid(65534).gid(65533)).await, "65534\n65533\n");
        }
    });
}

#[test]
#[allow(unsafe_code, reason = "pre_exec")]
fn a_function_runs_before_the_program_is_loaded() {
    run(async {
        let mut command = shell("umask");
        // SAFETY: the function makes one system call.
        unsafe {
            command.pre_exec(|| {
                rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o027));
                Ok(())
            });
        }
        assert_eq!(says(&mut command).await, "0027\n");
        // SAFETY: the function does nothing.
        unsafe { command.pre_exec(|| Err(io::Error::from_raw_os_error(33))) };
        assert_eq!(command.spawn().unwrap_err().raw_os_error(), Some(33));
    });
}

#[test]
fn what_cannot_be_started_says_why() {
    run(async {
        let error = Command::new("/there/is/no/such/program").spawn().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let error = Command::new("/").status().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        let error = Command::new("nul\0inside").output().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let (result, command) = Command::new("/there/is/no/such/program").spawn_on_pool().await;
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(command.as_std().get_program(), "/there/is/no/such/program");
    });
}

#[test]
fn the_pool_starts_it_just_so() {
    run(async {
        let mut command = shell("read line; echo \"$line\"; exit 3");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        for _ in 0..3 {
            let result;
            (result, command) = command.spawn_on_pool().await;
            let mut child = result.unwrap();
            assert!(is_child(child.id().unwrap()));
            child.stdin.as_mut().unwrap().write_all("a line\n").await.0.unwrap();
            let output = child.wait_with_output().await.unwrap();
            assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(3), &b"a line\n"[..]));
        }
    });
}

#[test]
fn an_exit_code_and_a_signal_are_told_apart() {
    run(async {
        assert_eq!(shell("exit 7").status().await.unwrap().code(), Some(7));
        let status = shell("kill -TERM $$").status().await.unwrap();
        assert_eq!((status.code(), status.signal()), (None, Some(15)));
        assert!(Command::new("true").status().await.unwrap().success());
        let command: Command = std::process::Command::new("false").into();
        assert!(!command.get_kill_on_drop());
        assert_eq!(Command::from(command.into_std()).status().await.unwrap().code(), Some(1));
    });
}
