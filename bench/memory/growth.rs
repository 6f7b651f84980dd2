//! The time of a turn as its thread grows.

use std::time::{Duration, Instant};

use memory_gateway::memory::cycle::Job;
use memory_gateway::memory::settings::Settings;
use memory_gateway::memory::store::{Kind, TurnStatus};
use memory_gateway::protocol::{Search, ThreadKey};
use memory_gateway::thread;

use crate::support::{around, assistant, user};
use crate::world::{World, answered};

/// Messages at which turns are timed.
const SIZES: [u64; 5] = [10, 100, 1_000, 10_000, 100_000];
/// Turns that are timed at each size; the first of them with threads of their own.
const TIMED: usize = 100;

/// Prompts that soon stop growing, so that only what the thread keeps differs.
fn settings() -> Settings {
    Settings {
        observe_tokens: 400,
        buffer_tokens: 100,
        keep_tokens: 100,
        window_tokens: 400,
        reflect_tokens: 600,
        swap_tokens: 900,
        idle_activation: false,
        ..Settings::default()
    }
}

/// Times of turns at one size.
#[derive(Default)]
struct Times {
    prepare: Vec<Duration>,
    commit: Vec<Duration>,
}

/// Lets a thread grow and prints the times; gives the thread.
pub fn report() -> World {
    println!(
        "{:>9} {:>14} {:>13} {:>12} {:>11} {:>11}",
        "messages", "prepare median", "prepare worst", "commit", "index step", "search"
    );
    let mut world = World::new(settings());
    let mut said = 0;
    let mut medians = Vec::new();
    for size in SIZES {
        while said < size {
            turn(&mut world, said, &mut Times::default());
            said += 2;
        }
        let mut times = Times::default();
        if size < TIMED as u64 {
            // A thread that is timed is no longer short.
            for _ in 0..TIMED / 4 {
                let mut short = World::new(settings());
                (0..size).step_by(2).for_each(|said| turn(&mut short, said, &mut Times::default()));
                (size..size + 8).step_by(2).for_each(|said| turn(&mut short, said, &mut times));
            }
        } else {
            for _ in 0..TIMED {
                turn(&mut world, said, &mut times);
                said += 2;
            }
        }
        let (step, search) = (index_step(&world), search(&world, said));
        times.prepare.sort();
        times.commit.sort();
        let median = times.prepare[times.prepare.len() / 2];
        medians.push(median);
        println!(
            "{size:>9} {median:>14.1?} {:>13.1?} {:>12.1?} {step:>11.1?} {search:>11.1?}",
            times.prepare[times.prepare.len() - 1],
            times.commit[times.commit.len() / 2],
        );
    }
    let ratio = |at: usize| medians[medians.len() - 1].as_secs_f64() / medians[at].as_secs_f64();
    println!(
        "prepare at 100,000 messages takes {:.2} times as long as at 10, {:.2} times as at 1,000\n",
        ratio(0),
        ratio(2)
    );
    world
}

fn turn(world: &mut World, said: u64, times: &mut Times) {
    let request = world
        .thread
        .request(&[user(&format!("On day {said} the user saw {} ships in the harbour.", said % 7))]);
    let begun = Instant::now();
    thread::prepare(&world.thread.store, &request, around(&world.thread.settings)).unwrap();
    times.prepare.push(begun.elapsed());
    let begun = Instant::now();
    let answer = assistant(&format!("Noted: {} ships on day {said}.", said % 7));
    world.thread.end(&request, TurnStatus::Complete, Some(answer));
    times.commit.push(begun.elapsed());
    while let Some(job) = world.take() {
        let answer = work(&job);
        world.settle(&job, answered(&answer));
    }
}

/// The first line of each message of the user as a note of low priority; a rewrite drops the older half of the notes.
fn work(job: &Job) -> String {
    if job.kind == Kind::Observe {
        return crate::world::observe(job).replace("H #", "L #");
    }
    let ids: Vec<&str> = job
        .asked
        .user
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix('[')?.split(']').next())
        .collect();
    let dropped = ids.iter().take(ids.len() / 2).map(|id| format!("DROP {id}\n"));
    dropped.collect::<String>() + "END"
}

/// A step of the index for what was said since the last one.
fn index_step(world: &World) -> Duration {
    while world.thread.store.index_words().unwrap() {}
    let begun = Instant::now();
    world.thread.store.index_words().unwrap();
    begun.elapsed()
}

fn search(world: &World, said: u64) -> Duration {
    let key = ThreadKey { project: "p".into(), thread: "t".into(), resource: None };
    let request =
        Search { key, query: format!("How many ships were seen on day {}?", said / 4 * 2), limit: 10 };
    let begun = Instant::now();
    thread::search(&world.thread.store, &request).unwrap();
    begun.elapsed()
}
