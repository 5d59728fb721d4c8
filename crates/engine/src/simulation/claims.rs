//! Single promises of the engine, each in a small world of its own.

use std::sync::Arc;

use super::model::{Dice, Faults, lock};
use super::rule::{Breaks, Rule};
use super::world::{World, answer, random_job, settings};
use crate::dispatch::Station;
use crate::job::{Finish, Job, Refused, Sampling, Want};
use crate::model::{ModelShape, Pooling};
use crate::status::EngineState;

pub(super) const SHAPE: ModelShape = ModelShape {
    vocabulary: 32,
    context_tokens: 100,
    kv_blocks: 40,
    hidden: 3,
    pooling: Pooling::Last,
};

pub(super) fn job(prompt: Vec<u32>, output_tokens_max: usize) -> Job {
    Job {
        prompt,
        want: Want::Tokens,
        sampling: Sampling::default(),
        output_tokens_max,
        end_tokens: Arc::from([]),
        ignore_end: false,
        cache_scope: 0,
        constraint: None,
    }
}

pub(super) fn prompt(tokens: usize, family: u32) -> Vec<u32> {
    (0..u32::try_from(tokens).unwrap())
        .map(|position| (position * 5 + family) % 31)
        .collect()
}

/// Everyone works and reads to the end, and nothing may be left.
pub(super) fn finish(world: &mut World) {
    world.run_to_the_end();
    world.check_end();
}

#[test]
fn one_fault_at_any_step_costs_no_job_anything() {
    for fault_at in 1..200 {
        for panics in [false, true] {
            let mut world = World::new(fault_at, SHAPE, settings(2), Faults::default());
            for family in 0..12 {
                world.submit(vec![job(prompt(20, family), 20)]).unwrap();
            }
            for step in 0..fault_at {
                world.turn(usize::try_from(step % 2).unwrap());
                (0..12).for_each(|client| world.read(client, 2));
            }
            let engine = usize::try_from(fault_at % 2).unwrap();
            let always = if panics {
                Faults {
                    panic: 1,
                    ..Faults::default()
                }
            } else {
                Faults {
                    error: 1,
                    ..Faults::default()
                }
            };
            lock(&world.script).faults = always;
            world.turn(engine);
            lock(&world.script).faults = Faults::default();
            finish(&mut world);
            assert_eq!(world.failed(), 0, "fault at step {fault_at}");
        }
    }
}

#[test]
fn a_thousand_engine_deaths_under_load_fail_no_job() {
    let mut world = World::new(1, SHAPE, settings(2), Faults::default());
    let mut deaths = 0;
    while deaths < 1000 {
        let (dice, shape) = (&mut world.dice, world.shape);
        let job = random_job(dice, &shape);
        let _ = world.submit(vec![job]);
        for _ in 0..10 {
            (0..2).for_each(|index| world.turn(index));
        }
        let die = world.dice.pick(&[
            Faults {
                error: 1,
                ..Faults::default()
            },
            Faults {
                panic: 1,
                ..Faults::default()
            },
        ]);
        lock(&world.script).faults = die;
        let engine = world.dice.below(2);
        world.turn(engine);
        lock(&world.script).faults = Faults::default();
        deaths = lock(&world.script).faults_done;
        let clients = world.clients.len();
        (clients.saturating_sub(40)..clients).for_each(|client| world.read(client, 100));
    }
    finish(&mut world);
    assert_eq!(world.failed(), 0);
    assert!(world.clients.len() > 300, "{} jobs", world.clients.len());
}

#[test]
fn a_job_that_kills_every_engine_is_given_up_alone() {
    let faults = Faults {
        poison: Some(31),
        ..Faults::default()
    };
    for engines in 1..=3 {
        let mut world = World::new(7, SHAPE, settings(engines), faults);
        for family in 0..6 {
            world.submit(vec![job(prompt(10, family), 20)]).unwrap();
        }
        world.submit(vec![job(vec![31], 5)]).unwrap();
        // A job that chooses token 31 itself poisons its own next step.
        let fed = |job: &Job| {
            let (mut tokens, _) = answer(job, &SHAPE);
            tokens.pop();
            tokens.contains(&31)
        };
        let poison: Vec<bool> = world.clients.iter().map(|client| fed(&client.job)).collect();
        world.run_to_the_end();
        world.check_end();
        for (index, client) in world.clients.iter().enumerate() {
            let failed = matches!(client.finish, Some(Finish::Failed(_)));
            let poison = index == 6 || poison[index];
            assert_eq!(failed, poison, "job {index} of {engines} engines: {:?}", client.finish);
        }
        let alive = |station: &Station| station.gauges.state() == EngineState::Ready;
        assert!(world.dispatcher.stations.iter().all(alive), "no engine is given up");
    }
}

#[test]
fn an_engine_that_cannot_be_built_again_is_given_up_and_its_jobs_go_on_elsewhere() {
    let mut world = World::new(3, SHAPE, settings(2), Faults::default());
    for family in 0..4 {
        world.submit(vec![job(prompt(20, family), 10)]).unwrap();
    }
    world.turn(0);
    world.turn(1);
    lock(&world.script).faults = Faults {
        error: 1,
        build: 1,
        ..Faults::default()
    };
    world.turn(0);
    lock(&world.script).faults.error = 0;
    (0..20).for_each(|_| world.turn(0));
    assert_eq!(world.dispatcher.stations[0].gauges.state(), EngineState::Failed);
    assert_eq!(world.dispatcher.stations[0].gauges.failures.get(), 1 + 5);
    finish(&mut world);
    assert_eq!(world.failed(), 0);
    assert_eq!(world.submit(vec![job(prompt(5, 0), 1)]), Ok(1), "new jobs skip it");
    lock(&world.script).faults.error = 1;
    (0..20).for_each(|_| world.turn(1));
    assert_eq!(world.submit(vec![job(prompt(5, 0), 1)]), Err(Refused::NoEngine));
    lock(&world.script).faults = Faults::default();
    finish(&mut world);
    assert_eq!(world.failed(), 1, "the last one, with no engine left");
}

#[test]
fn the_context_holds_prompt_and_output_to_the_last_token() {
    for (prompt_tokens, output_tokens_max, given) in [
        (98, 1, 1),
        (98, 2, 2),
        (98, 3, 2),
        (99, 1, 1),
        (99, 1000, 1),
        (1, 98, 98),
        (1, 99, 99),
        (1, 1000, 99),
        (50, 0, 0),
    ] {
        // Forty blocks, and just enough of them.
        for kv_blocks in [40, 7] {
            let shape = ModelShape { kv_blocks, ..SHAPE };
            let mut world = World::new(0, shape, settings(1), Faults::default());
            world
                .submit(vec![job(prompt(prompt_tokens, 1), output_tokens_max)])
                .unwrap();
            finish(&mut world);
            assert_eq!(world.clients[0].tokens.len(), given);
            assert_eq!(world.clients[0].finish, Some(Finish::Length));
        }
    }
    let mut world = World::new(0, SHAPE, settings(1), Faults::default());
    let refused = Refused::PromptTooLong {
        tokens: 100,
        context_tokens: 100,
    };
    assert_eq!(world.submit(vec![job(prompt(100, 1), 1)]), Err(refused));
}

#[test]
fn a_prompt_seen_before_is_not_computed_again() {
    let mut world = World::new(0, SHAPE, settings(1), Faults::default());
    world.submit(vec![job(prompt(50, 1), 20)]).unwrap();
    finish(&mut world);
    assert_eq!(world.clients[0].started, Some(0));
    // The next turn: history, answer, a new question. Prompt and answer are cached: 69 computed positions.
    let mut next = prompt(50, 1);
    next.extend(&world.clients[0].tokens);
    next.extend([9, 9, 9]);
    world.submit(vec![job(next, 5)]).unwrap();
    finish(&mut world);
    assert_eq!(world.clients[1].started, Some(64));
    world.submit(vec![job(prompt(48, 1), 5)]).unwrap();
    finish(&mut world);
    assert_eq!(world.clients[2].started, Some(32), "the last token is always computed");
    let mut other = job(prompt(50, 1), 5);
    other.cache_scope = 1;
    let before = lock(&world.script).rows;
    world.submit(vec![other]).unwrap();
    finish(&mut world);
    assert_eq!(world.clients[3].started, Some(0), "another scope sees nothing");
    assert_eq!(lock(&world.script).rows - before, 54, "and is not served any faster");
}

#[test]
fn answers_to_one_prompt_compute_it_once() {
    let mut world = World::new(0, SHAPE, settings(1), Faults::default());
    let same = |seed| {
        let mut same = job(prompt(64, 1), 1);
        same.sampling.seed = seed;
        same
    };
    world.submit((0..4).map(same).collect()).unwrap();
    finish(&mut world);
    assert_eq!(
        lock(&world.script).rows,
        64 + 3 * 16,
        "the last block is each one's own"
    );
    let cached: Vec<_> = world.clients.iter().map(|client| client.started).collect();
    assert_eq!(cached, [Some(0), Some(48), Some(48), Some(48)]);
}

#[test]
fn a_long_prompt_does_not_stop_the_others() {
    let mut limits = settings(1);
    limits.step_tokens_max = 10;
    let mut world = World::new(0, SHAPE, limits, Faults::default());
    world.submit(vec![job(prompt(5, 1), 50)]).unwrap();
    world.turn(0);
    world.submit(vec![job(prompt(90, 2), 5)]).unwrap();
    for tokens in 2..=10 {
        world.turn(0);
        world.read(0, 10);
        assert_eq!(world.clients[0].tokens.len(), tokens, "one token in every step");
    }
    assert_eq!(lock(&world.script).largest_step, 11, "the budget and one decode");
    world.read(1, 10);
    assert_eq!(world.clients[1].tokens.len(), 1, "90 tokens in nine chunks");
    finish(&mut world);
}

#[test]
fn a_client_that_left_costs_no_further_step() {
    let mut limits = settings(1);
    limits.slots = 1;
    limits.step_tokens_max = 16;
    let mut world = World::new(0, SHAPE, limits, Faults::default());
    // One decoding, then one in the middle of its prompt, then one in the queue.
    for (prompt_tokens, turns) in [(5, 3), (90, 2), (90, 0)] {
        if turns == 0 {
            world.submit(vec![job(prompt(5, 9), 50)]).unwrap();
            world.turn(0);
        }
        world.submit(vec![job(prompt(prompt_tokens, 1), 50)]).unwrap();
        (0..turns).for_each(|_| world.turn(0));
        (0..world.clients.len()).for_each(|client| world.leave(client));
        let before = lock(&world.script).rows;
        world.turn(0);
        assert_eq!(lock(&world.script).rows, before);
        world.check_end();
    }
    assert_eq!(world.dispatcher.stations[0].gauges.requests_cancelled.get(), 4);
}

#[test]
fn a_reader_that_stops_is_passed_over_and_goes_on_where_it_was() {
    let mut limits = settings(1);
    limits.reply_events_max = 4;
    limits.slots = 1;
    let mut world = World::new(0, SHAPE, limits, Faults::default());
    world.submit(vec![job(prompt(5, 1), 50)]).unwrap();
    (0..10).for_each(|_| world.turn(0));
    // Start and two tokens; one place is kept for the end.
    let before = lock(&world.script).rows;
    (0..10).for_each(|_| world.turn(0));
    assert_eq!(lock(&world.script).rows, before, "nothing runs, and nobody waits");
    world.submit(vec![job(prompt(5, 2), 20)]).unwrap();
    for _ in 0..30 {
        world.turn(0);
        world.read(1, 4);
    }
    assert_eq!(
        world.clients[1].finish,
        Some(Finish::Length),
        "the only slot was free for others"
    );
    finish(&mut world);
    assert_eq!(world.clients[0].tokens.len(), 50);
}

#[test]
fn a_reader_that_stops_keeps_no_block_that_others_need() {
    // The first holds three of five blocks and stops reading. The second needs four: at once, or by and by.
    for (prompt_tokens, output_tokens_max) in [(50, 10), (5, 55)] {
        let mut limits = settings(1);
        limits.reply_events_max = 4;
        let shape = ModelShape { kv_blocks: 5, ..SHAPE };
        let mut world = World::new(0, shape, limits, Faults::default());
        world.submit(vec![job(prompt(40, 1), 30)]).unwrap();
        (0..5).for_each(|_| world.turn(0));
        world
            .submit(vec![job(prompt(prompt_tokens, 2), output_tokens_max)])
            .unwrap();
        for _ in 0..100 {
            world.turn(0);
            world.read(1, 4);
        }
        assert_eq!(world.clients[1].finish, Some(Finish::Length));
        finish(&mut world);
        assert_eq!(world.clients[0].tokens.len(), 30);
        assert_eq!(world.dispatcher.stations[0].gauges.preemptions.get(), 1);
    }
}

#[test]
fn too_few_blocks_cost_time_and_no_answer() {
    let shape = ModelShape { kv_blocks: 8, ..SHAPE };
    let mut world = World::new(0, shape, settings(1), Faults::default());
    for family in 0..6 {
        world.submit(vec![job(prompt(20, family), 60)]).unwrap();
    }
    finish(&mut world);
    assert_eq!(world.failed(), 0);
    assert!(world.dispatcher.stations[0].gauges.preemptions.get() > 0);
}

#[test]
fn a_row_that_is_not_numbers_ends_its_own_job_only() {
    let mut world = World::new(0, SHAPE, settings(1), Faults::default());
    for family in 0..3 {
        world.submit(vec![job(prompt(20, family), 10)]).unwrap();
    }
    world.turn(0);
    world.turn(0);
    // Of the three rows of this step exactly the first is spoilt: it has no company yet in a fresh world.
    lock(&world.script).faults.not_a_number = 1;
    world.leave(1);
    world.leave(2);
    world.turn(0);
    lock(&world.script).faults = Faults::default();
    world.submit(vec![job(prompt(20, 0), 10)]).unwrap();
    finish(&mut world);
    let Some(Finish::Failed(why)) = &world.clients[0].finish else {
        panic!("{:?}", world.clients[0].finish);
    };
    assert!(why.contains("not a finite number"), "{why}");
    assert_eq!(world.clients[3].started, Some(0), "what it computed is not trusted");
    assert_eq!(world.clients[3].tokens.len(), 10);
    assert_eq!(world.dispatcher.stations[0].gauges.rows_not_finite.get(), 1);
    assert_eq!(
        world.dispatcher.stations[0].gauges.builds.get(),
        1,
        "the engine went on"
    );
}

#[test]
fn a_constraint_that_breaks_ends_its_own_job_only_and_moves_nothing() {
    for (breaks, said) in [
        (Breaks::WithError(4), "cannot be kept: scripted"),
        (Breaks::WithPanic(4), "choosing the token failed"),
        (Breaks::WithError(0), "scripted"),
        (Breaks::WithPanic(0), "failed"),
    ] {
        let mut world = World::new(0, SHAPE, settings(2), Faults::default());
        for family in 0..4 {
            let mut rule = Rule::new(&mut Dice::new(u64::from(family)));
            rule.breaks = if family == 0 { breaks } else { Breaks::Never };
            let constrained = Job {
                constraint: Some(Box::new(rule)),
                ..job(prompt(20, family), 10)
            };
            // The one that breaks cannot be asked for its right answer.
            world.submit(vec![constrained]).unwrap();
        }
        world.run_to_the_end();
        world.clients[0].job.constraint = None;
        let heard = std::mem::take(&mut world.clients[0].tokens);
        world.check_end();
        let Some(Finish::Failed(why)) = &world.clients[0].finish else {
            panic!("{:?}", world.clients[0].finish);
        };
        assert!(why.contains(said) && heard.len() <= 4, "{why} after {heard:?}");
        assert_eq!(world.failed(), 1);
        for station in world.dispatcher.stations.iter() {
            let gauges = &station.gauges;
            assert_eq!((gauges.builds.get(), gauges.requests_moved.get()), (1, 0));
            assert_eq!(gauges.rows_not_finite.get(), 0);
        }
    }
}

#[test]
fn full_queues_refuse_and_take_none_of_several_jobs() {
    let mut limits = settings(2);
    limits.slots = 1;
    limits.queue_jobs_max = 2;
    let mut world = World::new(0, SHAPE, limits, Faults::default());
    let one = || job(prompt(5, 1), 5);
    let too_many = Refused::TooManyJobs { jobs: 4, jobs_max: 3 };
    assert_eq!(world.submit(vec![one(), one(), one(), one()]), Err(too_many));
    assert_eq!(world.submit(vec![one(), one()]), Ok(0));
    assert_eq!(world.submit(vec![one(), one()]), Ok(1));
    let full = |waiting| {
        Err(Refused::QueueFull {
            waiting,
            queue_jobs_max: 2,
        })
    };
    assert_eq!(world.submit(vec![one(), one()]), full(1));
    // Engine 1 stood in for a full one; its own turn is still to come.
    assert_eq!(world.submit(vec![one()]), Ok(1));
    assert_eq!(world.submit(vec![one()]), Ok(0));
    assert_eq!(world.submit(vec![one()]), full(2));
    finish(&mut world);
    assert_eq!(world.clients.len(), 6);
    assert_eq!(world.submit(Vec::new()), Err(Refused::EmptyPrompt));
}
