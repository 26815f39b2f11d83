//! How a program is to be started.
#![allow(unsafe_code, reason = "`pre_exec` is unsafe to call, as std's is")]

use std::ffi::OsStr;
use std::future::Future;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use super::Child;
use super::orphans;
use crate::blocking;

/// How a program is to be started: std's builder, with tokio's names. See the [module](super) for an example.
///
/// Unless told otherwise the program gets this one's arguments (none but its name), environment, directory and standard
/// streams.
#[derive(Debug)]
pub struct Command {
    std: std::process::Command,
    kill_on_drop: bool,
}

impl Command {
    /// A program by its path, or by its name, to be found in `PATH`.
    pub fn new<S: AsRef<OsStr>>(program: S) -> Command {
        Command::from(std::process::Command::new(program))
    }

    /// Std's builder.
    pub fn as_std(&self) -> &std::process::Command {
        &self.std
    }

    /// Std's builder, to be changed.
    pub fn as_std_mut(&mut self) -> &mut std::process::Command {
        &mut self.std
    }

    /// Std's builder. Whether to kill on drop is forgotten.
    pub fn into_std(self) -> std::process::Command {
        self.std
    }

    /// Adds an argument.
    pub fn arg<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Command {
        self.std.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<I, S>(&mut self, args: I) -> &mut Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.std.args(args);
        self
    }

    /// What the program finds as its own name, instead of what it was found by.
    pub fn arg0<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Command {
        self.std.arg0(arg);
        self
    }

    /// Sets an environment variable.
    pub fn env<K: AsRef<OsStr>, V: AsRef<OsStr>>(&mut self, key: K, value: V) -> &mut Command {
        self.std.env(key, value);
        self
    }

    /// Sets environment variables.
    pub fn envs<I, K, V>(&mut self, variables: I) -> &mut Command
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.std.envs(variables);
        self
    }

    /// Takes an environment variable away.
    pub fn env_remove<K: AsRef<OsStr>>(&mut self, key: K) -> &mut Command {
        self.std.env_remove(key);
        self
    }

    /// Takes all environment variables away.
    pub fn env_clear(&mut self) -> &mut Command {
        self.std.env_clear();
        self
    }

    /// The directory that it runs in.
    pub fn current_dir<P: AsRef<Path>>(&mut self, directory: P) -> &mut Command {
        self.std.current_dir(directory);
        self
    }

    /// What it reads from. Default: what this program does.
    pub fn stdin<T: Into<Stdio>>(&mut self, stdin: T) -> &mut Command {
        self.std.stdin(stdin);
        self
    }

    /// What it writes to. Default: what this program does, but a pipe for [`output`](Command::output).
    pub fn stdout<T: Into<Stdio>>(&mut self, stdout: T) -> &mut Command {
        self.std.stdout(stdout);
        self
    }

    /// What it tells its errors to. Default: what this program does, but a pipe for [`output`](Command::output).
    pub fn stderr<T: Into<Stdio>>(&mut self, stderr: T) -> &mut Command {
        self.std.stderr(stderr);
        self
    }

    /// Whether the program is killed (`SIGKILL`) when its [`Child`] is dropped before its end was told; also one that
    /// [`status`](Command::status) and [`output`](Command::output) await. Default: false.
    pub fn kill_on_drop(&mut self, kill_on_drop: bool) -> &mut Command {
        self.kill_on_drop = kill_on_drop;
        self
    }

    /// What [`kill_on_drop`](Command::kill_on_drop) was set to.
    pub fn get_kill_on_drop(&self) -> bool {
        self.kill_on_drop
    }

    /// The user that it runs as: `setuid(2)`.
    pub fn uid(&mut self, id: u32) -> &mut Command {
        self.std.uid(id);
        self
    }

    /// The group that it runs as: `setgid(2)`.
    pub fn gid(&mut self, id: u32) -> &mut Command {
        self.std.gid(id);
        self
    }

    /// The process group that it is in, 0 for one of its own: `setpgid(2)`. A ctrl-c at the terminal goes to the programs of
    /// one group.
    pub fn process_group(&mut self, group: i32) -> &mut Command {
        self.std.process_group(group);
        self
    }

    /// Has a function run in the new process before the program is loaded.
    ///
    /// The function runs on the thread that calls [`spawn`](Command::spawn), in the new process, or on one of the pool's with
    /// [`spawn_on_pool`](Command::spawn_on_pool): what goes by the *thread* that forks, as `PR_SET_PDEATHSIG` does, is then by
    /// a thread that ends when it is idle.
    ///
    /// # Safety
    /// As [std's](CommandExt::pre_exec): between `fork` and `exec` only what is safe in a signal handler may be done; other
    /// threads may have held any lock, the allocator's too.
    pub unsafe fn pre_exec<F>(&mut self, function: F) -> &mut Command
    where
        F: FnMut() -> io::Result<()> + Send + Sync + 'static,
    {
        // SAFETY: the caller promises what std asks for.
        unsafe { self.std.pre_exec(function) };
        self
    }

    /// Starts the program: `posix_spawn(3)`, or `fork(2)` and `execve(2)`, a direct call. No loop needs to run here.
    ///
    /// The call waits until the program is loaded, so it holds up the loop: see [`spawn_on_pool`](Command::spawn_on_pool).
    ///
    /// # Errors
    /// Those of std: `NotFound`, `PermissionDenied`, too many processes or open files, ….
    pub fn spawn(&mut self) -> io::Result<Child> {
        orphans::attend();
        Child::new(self.std.spawn()?, self.kill_on_drop)
    }

    /// Starts the program by a call on the blocking pool, and gives the command back with the child.
    ///
    /// Dropped early, the program may be started all the same; its child is dropped then.
    ///
    /// # Errors
    /// As [`spawn`](Command::spawn), and if no thread can be had.
    ///
    /// # Panics
    /// With the panic of a function of [`pre_exec`](Command::pre_exec)'s, if that panics in this process.
    pub async fn spawn_on_pool(self) -> (io::Result<Child>, Command) {
        // Here, too, because a call that no thread can be had for is dropped.
        let command = Arc::new(Mutex::new(self));
        let shared = command.clone();
        let call = move || {
            let mut command = shared.lock().unwrap_or_else(PoisonError::into_inner);
            command.spawn()
        };
        let child = match blocking::start(call) {
            Ok(call) => call.await.unwrap_or_else(|error| match error.try_into_panic() {
                Ok(payload) => std::panic::resume_unwind(payload),
                Err(error) => Err(error.into()),
            }),
            Err(error) => Err(error),
        };
        let command = Arc::into_inner(command).expect("the call is over, and its closure gone");
        (child, command.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Starts the program, at once, and waits until it has ended. Its standard streams are this program's unless set; pipes
    /// are closed at once. Dropped early, the program goes on, unless it is [killed](Command::kill_on_drop).
    ///
    /// # Errors
    /// As [`spawn`](Command::spawn) and [`Child::wait`].
    pub fn status(&mut self) -> impl Future<Output = io::Result<ExitStatus>> + Send + use<> {
        let child = self.spawn();
        async {
            let mut child = child?;
            drop((child.stdin.take(), child.stdout.take(), child.stderr.take()));
            child.wait().await
        }
    }

    /// Starts the program, at once, with pipes for what it writes, whatever was set, and reads both until it has ended.
    /// Dropped early, the program goes on, unless it is [killed](Command::kill_on_drop), and what it wrote is lost.
    ///
    /// # Errors
    /// As [`spawn`](Command::spawn) and [`Child::wait_with_output`].
    pub fn output(&mut self) -> impl Future<Output = io::Result<Output>> + Send + use<> {
        self.std.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = self.spawn();
        async { child?.wait_with_output().await }
    }
}

impl From<std::process::Command> for Command {
    fn from(std: std::process::Command) -> Command {
        Command { std, kill_on_drop: false }
    }
}

const _: () = {
    const fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<Command>();
};
