//! What is promised of embeddings, each in a small world of its own.

use super::claims::{SHAPE, finish, job, prompt};
use super::model::{Faults, lock};
use super::world::{World, settings};
use crate::job::{Finish, Job, Refused};
use crate::model::{ModelShape, Pooling};

const POOLINGS: [Pooling; 3] = [Pooling::Last, Pooling::Mean, Pooling::First];

fn text(tokens: usize, family: u32) -> Job {
    Job::embedding(prompt(tokens, family), 0)
}

fn world(pooling: Pooling, step_tokens_max: usize) -> World {
    let mut limits = settings(1);
    limits.step_tokens_max = step_tokens_max;
    World::new(0, ModelShape { pooling, ..SHAPE }, limits, Faults::default())
}

/// `finish` compares every answer with the model's own.
#[test]
fn an_embedding_is_the_same_whatever_its_chunks_and_company() {
    for pooling in POOLINGS {
        for step_tokens_max in [1, 7, 16, 33, 200] {
            let mut world = world(pooling, step_tokens_max);
            world.submit(vec![text(70, 1)]).unwrap();
            finish(&mut world);
            world.submit(vec![job(prompt(50, 1), 20)]).unwrap();
            world.submit(vec![text(70, 1), text(70, 1), text(64, 1)]).unwrap();
            world.submit(vec![text(1, 2)]).unwrap();
            finish(&mut world);
            let embedding = |index: usize| world.clients[index].embedding.clone().unwrap();
            assert_eq!(embedding(2), embedding(0), "{pooling:?}, steps of {step_tokens_max}");
            assert!(
                world
                    .clients
                    .iter()
                    .skip(2)
                    .all(|client| client.finish == Some(Finish::End))
            );
        }
    }
}

#[test]
fn what_is_cached_of_a_text_is_used_where_its_last_state_is_enough() {
    for (pooling, cached, rows) in [(Pooling::Last, 48, 2), (Pooling::Mean, 0, 50), (Pooling::First, 0, 1)] {
        let mut world = world(pooling, 200);
        world.submit(vec![job(prompt(50, 1), 1)]).unwrap();
        finish(&mut world);
        let before = lock(&world.script).rows;
        world.submit(vec![text(50, 1)]).unwrap();
        finish(&mut world);
        assert_eq!(world.clients[1].started, Some(cached), "{pooling:?}");
        assert_eq!(lock(&world.script).rows - before, rows, "{pooling:?}");
    }
}

#[test]
fn a_text_may_fill_the_context() {
    for kv_blocks in [40, 6] {
        let most = 100.min(kv_blocks * 16);
        for pooling in POOLINGS {
            let shape = ModelShape {
                kv_blocks,
                pooling,
                ..SHAPE
            };
            let mut world = World::new(0, shape, settings(1), Faults::default());
            world.submit(vec![text(most, 1)]).unwrap();
            finish(&mut world);
            assert_eq!(world.clients[0].finish, Some(Finish::End));
            let refused = Refused::TextTooLong {
                tokens: most + 1,
                context_tokens: most,
            };
            assert_eq!(world.submit(vec![text(most + 1, 1)]), Err(refused));
        }
    }
}

#[test]
fn a_fault_at_any_step_costs_no_text_its_embedding() {
    for pooling in POOLINGS {
        for fault_at in 0..12 {
            let mut world = world(pooling, 10);
            world.submit(vec![text(50, 1), text(45, 2)]).unwrap();
            (0..fault_at).for_each(|_| world.turn(0));
            lock(&world.script).faults.error = 1;
            world.turn(0);
            lock(&world.script).faults = Faults::default();
            finish(&mut world);
            assert_eq!(world.failed(), 0, "{pooling:?}, fault at step {fault_at}");
        }
    }
}

#[test]
fn a_client_that_left_costs_no_further_step() {
    let mut world = world(Pooling::Mean, 10);
    world.submit(vec![text(90, 1)]).unwrap();
    (0..3).for_each(|_| world.turn(0));
    world.leave(0);
    let before = lock(&world.script).rows;
    world.turn(0);
    assert_eq!(lock(&world.script).rows, before);
    world.check_end();
}

#[test]
fn states_that_are_not_numbers_end_their_own_job_and_leave_nothing_in_the_cache() {
    for pooling in [Pooling::Last, Pooling::Mean] {
        let mut world = world(pooling, 200);
        lock(&world.script).faults.not_a_number = 1;
        world.submit(vec![text(50, 1)]).unwrap();
        (0..3).for_each(|_| world.turn(0));
        lock(&world.script).faults = Faults::default();
        world.submit(vec![text(50, 1), job(prompt(50, 1), 3)]).unwrap();
        finish(&mut world);
        let Some(Finish::Failed(why)) = &world.clients[0].finish else {
            panic!("{:?}", world.clients[0].finish);
        };
        assert!(why.contains("not finite"), "{why}");
        assert_eq!(world.clients[1].started, Some(0));
        assert_eq!(world.clients[1].finish, Some(Finish::End));
    }
}
