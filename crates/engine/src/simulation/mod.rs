//! The engine under thousands of seeded lives: arrivals, slow readers, cancellations, faults, too few blocks.
//!
//! `TANDEM_SIMULATION_SEEDS` sets how many; a failure prints its seed, and `TANDEM_SIMULATION_FIRST` starts there.

mod claims;
mod embeddings;
mod model;
mod rule;
mod world;

use crate::job::{Job, Refused};
use crate::model::{ModelShape, Pooling};
use model::{Dice, Faults, lock};
use world::{World, random_job, settings};

/// Says which seed it was, should the test end in a panic.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}", self.0);
        }
    }
}

fn number_from(variable: &str, default: u64) -> u64 {
    let set = std::env::var(variable).ok();
    set.map_or(default, |text| text.parse().expect("a number in the variable"))
}

fn seeds(default: u64) -> std::ops::Range<u64> {
    let first = number_from("TANDEM_SIMULATION_FIRST", 0);
    first..first + number_from("TANDEM_SIMULATION_SEEDS", default)
}

/// A world whose every size is chance.
fn random_world(seed: u64, faults: Faults) -> World {
    let mut dice = Dice::new(seed.wrapping_mul(31));
    let shape = ModelShape {
        vocabulary: dice.between(8, 40),
        context_tokens: dice.between(8, 120),
        kv_blocks: dice.between(1, 24),
        hidden: dice.between(1, 4),
        pooling: dice.pick(&[Pooling::Last, Pooling::Mean, Pooling::First]),
    };
    let mut settings = settings(dice.between(1, 3));
    settings.slots = dice.between(1, 6);
    settings.queue_jobs_max = dice.between(0, 8);
    settings.step_tokens_max = dice.pick(&[1, 3, 16, 17, 40, 200]);
    settings.reply_events_max = dice.pick(&[3, 4, 8, 300]);
    World::new(seed, shape, settings, faults)
}

/// A life with chance for every move, then everyone to the end.
fn live(seed: u64, faults: Faults) -> World {
    let mut world = random_world(seed, faults);
    for _ in 0..world.dice.between(20, 300) {
        let clients = world.clients.len();
        match world.dice.below(12) {
            0 | 1 => {
                let jobs = world.dice.pick(&[1, 1, 1, 3]);
                let (dice, shape) = (&mut world.dice, world.shape);
                let mut jobs: Vec<Job> = (0..jobs).map(|_| random_job(dice, &shape)).collect();
                if dice.one_in(2) {
                    // Several answers to one prompt.
                    let prompt = jobs[0].prompt.clone();
                    jobs.iter_mut().for_each(|job| job.prompt.clone_from(&prompt));
                }
                match world.submit(jobs) {
                    Ok(_) | Err(Refused::QueueFull { .. } | Refused::TooManyJobs { .. } | Refused::NoEngine) => {}
                    Err(refused) => panic!("{refused}"),
                }
            }
            2 if clients > 0 && world.dice.one_in(4) => {
                let index = world.dice.below(clients);
                world.leave(index);
            }
            2..=4 if clients > 0 => {
                let (index, count) = (world.dice.below(clients), world.dice.between(1, 3));
                world.read(index, count);
            }
            _ => {
                let index = world.dice.below(world.workers.len());
                world.turn(index);
            }
        }
    }
    lock(&world.script).faults = Faults::default();
    world.run_to_the_end();
    world.check_end();
    world
}

#[test]
fn without_faults_every_job_gets_the_models_own_answer() {
    for seed in seeds(2000) {
        let _seed = Seed(seed);
        let world = live(seed, Faults::default());
        assert_eq!(world.failed(), 0);
    }
}

#[test]
fn with_faults_every_job_ends_once_and_no_token_is_lost_repeated_or_wrong() {
    let (mut faults, mut preempted, mut moved, mut hits) = (0, 0, 0, 0);
    for seed in seeds(2000) {
        let _seed = Seed(seed);
        let mut dice = Dice::new(seed ^ 0xabc);
        let often = Faults {
            error: dice.pick(&[0, 20, 60]),
            panic: dice.pick(&[0, 30, 100]),
            not_a_number: dice.pick(&[0, 0, 100]),
            build: dice.pick(&[0, 0, 3]),
            poison: None,
        };
        let world = live(seed, often);
        faults += lock(&world.script).faults_done;
        for station in world.dispatcher.stations.iter() {
            preempted += station.gauges.preemptions.get();
            moved += station.gauges.requests_moved.get();
            hits += station.gauges.prefix_hits_tokens.get();
        }
    }
    // A simulation in which nothing happens proves nothing.
    assert!(faults > 0 && preempted > 0 && moved > 0 && hits > 0);
}

#[test]
fn the_same_seed_gives_the_same_events() {
    for seed in seeds(200) {
        let _seed = Seed(seed);
        let faults = Faults {
            error: 30,
            panic: 60,
            not_a_number: 100,
            build: 4,
            poison: None,
        };
        assert_eq!(live(seed, faults).digest, live(seed, faults).digest);
    }
}
