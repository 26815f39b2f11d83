//! xtra's actors, whose mailboxes know no runtime: on one loop and across two.

use std::collections::HashSet;
use std::io;

use ringtoss::net::{TcpListener, TcpStream};
use ringtoss_ecosystem::{OtherLoop, noise, run};
use xtra::{Actor, Address, Context, Handler, Mailbox};

macro_rules! actor {
    ($($name:ty),*) => {
        $(impl Actor for $name {
            type Stop = $name;

            async fn stopped(self) -> $name {
                self
            }
        })*
    };
}

actor!(Player, Worker, Writer);

/// Throws a ball back as often as it says.
#[derive(Default)]
struct Player {
    other: Option<Address<Player>>,
    caught: u32,
}

struct Meet(Option<Address<Player>>);

struct Ball {
    throws: u32,
    landed: async_channel::Sender<()>,
}

impl Handler<Meet> for Player {
    type Return = ();

    async fn handle(&mut self, meet: Meet, _ctx: &mut Context<Player>) {
        self.other = meet.0;
    }
}

impl Handler<Ball> for Player {
    type Return = ();

    async fn handle(&mut self, ball: Ball, _ctx: &mut Context<Player>) {
        self.caught += 1;
        if ball.throws == 0 {
            ball.landed.send(()).await.unwrap();
            return;
        }
        let thrown = Ball { throws: ball.throws - 1, landed: ball.landed };
        // Who waited for it to be handled would wait for themselves in the end.
        drop(self.other.as_ref().unwrap().send(thrown).detach().await.unwrap());
    }
}

/// A game of 5,000 throws with three balls; gives what the first player caught.
async fn play(one: Address<Player>, two: Address<Player>) {
    one.send(Meet(Some(two.clone()))).await.unwrap();
    two.send(Meet(Some(one.clone()))).await.unwrap();
    let (landed, landings) = async_channel::unbounded();
    for _ in 0..3 {
        one.send(Ball { throws: 5000, landed: landed.clone() }).await.unwrap();
    }
    for _ in 0..3 {
        landings.recv().await.unwrap();
    }
    // They know each other, and would never end.
    one.send(Meet(None)).await.unwrap();
    two.send(Meet(None)).await.unwrap();
}

#[test]
fn two_on_one_loop() {
    run(async {
        let ((one, first), (two, second)) = (Mailbox::unbounded(), Mailbox::bounded(4));
        let first = ringtoss::spawn(xtra::run(first, Player::default()));
        let second = ringtoss::spawn(xtra::run(second, Player::default()));
        play(one, two).await;
        assert_eq!((first.await.unwrap().caught, second.await.unwrap().caught), (7503, 7500));
    });
}

#[test]
fn two_on_two_loops() {
    run(async {
        let other = OtherLoop::start();
        let ((one, first), (two, second)) = (Mailbox::unbounded(), Mailbox::bounded(4));
        let first = ringtoss::spawn(xtra::run(first, Player::default()));
        let second = other.handle().spawn(xtra::run(second, Player::default()));
        play(one, two).await;
        assert_eq!((first.await.unwrap().caught, second.await.unwrap().caught), (7503, 7500));
    });
}

/// One of many at a mailbox.
#[derive(Default)]
struct Worker {
    done: Vec<u32>,
}

struct Job(u32);

impl Handler<Job> for Worker {
    type Return = u32;

    async fn handle(&mut self, job: Job, _ctx: &mut Context<Worker>) -> u32 {
        ringtoss::yield_now().await;
        self.done.push(job.0);
        job.0 * 2
    }
}

#[test]
fn many_workers_on_two_loops_share_a_mailbox() {
    run(async {
        let other = OtherLoop::start();
        let (address, mailbox) = Mailbox::bounded(8);
        let workers: Vec<_> = (0..4)
            .flat_map(|_| {
                let work = || xtra::run(mailbox.clone(), Worker::default());
                [ringtoss::spawn(work()), other.handle().spawn(work())]
            })
            .collect();
        drop(mailbox);
        let asking = (0..10).map(|tens| {
            let address = address.clone();
            async move {
                for number in 0..300 {
                    let job = tens * 300 + number;
                    assert_eq!(address.send(Job(job)).await.unwrap(), job * 2);
                }
            }
        });
        futures::future::join_all(asking).await;
        drop(address);
        let mut done = HashSet::new();
        for worker in workers {
            for job in worker.await.unwrap().done {
                assert!(done.insert(job), "{job} was done twice");
            }
        }
        assert_eq!(done.len(), 3000);
    });
}

/// Has a stream of its own: what it does with it may be sent to other threads, as xtra asks.
struct Writer(TcpStream);

struct Line(Vec<u8>);

impl Handler<Line> for Writer {
    type Return = io::Result<Vec<u8>>;

    async fn handle(&mut self, line: Line, _ctx: &mut Context<Writer>) -> io::Result<Vec<u8>> {
        let len = line.0.len();
        self.0.write_all(line.0).await.0?;
        let (result, echo) = self.0.read_exact(Vec::with_capacity(len), len).await;
        result.map(|_| echo)
    }
}

#[test]
fn an_actor_on_another_loop_has_a_stream() {
    run(async {
        let other = OtherLoop::start();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut reader, mut writer) = listener.accept().await.unwrap().0.into_split();
        let echo = ringtoss::spawn(async move { ringtoss::io::copy(&mut reader, &mut writer).await });
        let (address, mailbox) = Mailbox::bounded(2);
        let actor = other.handle().spawn(xtra::run(mailbox, Writer(stream)));
        for round in 1..200 {
            let line = noise(round * 50);
            assert!(address.send(Line(line.clone())).await.unwrap().unwrap() == line);
        }
        drop(address);
        drop(actor.await.unwrap());
        assert_eq!(echo.await.unwrap().unwrap(), (1..200).map(|round| round * 50).sum::<u64>());
    });
}
