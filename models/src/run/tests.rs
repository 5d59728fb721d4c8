//! Devices that work at the same time, and devices that fail: who is told what, and what happens next.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use engine::{LanguageModel, ModelShape, Pooling, Segment, Wanted};
use kernels::{Format, PackedMatrix};

use super::{Lane, Meeting, Member, Opening, Pipeline, Seat, Team};
use crate::batch::Batch;
use crate::decoder::Stage;
use crate::device::Fault;

const SHAPE: ModelShape = ModelShape {
    vocabulary: 4,
    context_tokens: 64,
    kv_blocks: 4,
    hidden: 4,
    pooling: Pooling::Last,
};

/// What the test's devices do at a step.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Well,
    Fails,
    Panics,
}

/// A device that adds one to what it is given; a part of several meets the others first.
struct Adder {
    steps: Arc<AtomicUsize>,
    fails_at: usize,
    mood: Mood,
    seat: Option<Seat>,
    parts: usize,
}

impl Stage for Adder {
    fn forward(&mut self, _lane: usize, batch: &Batch, hidden: &[f32], output: &mut Vec<f32>) -> Result<(), Fault> {
        if self.steps.fetch_add(1, Ordering::SeqCst) == self.fails_at {
            match self.mood {
                Mood::Well => {}
                Mood::Fails => return Err("the card fell off the bus".into()),
                Mood::Panics => panic!("the card fell off the bus"),
            }
        }
        if let Some(seat) = &mut self.seat {
            seat.own = vec![1];
            seat.join(&vec![1; self.parts])?;
        }
        output.clear();
        output.extend(hidden.iter().map(|value| value + 1.0));
        output.truncate(batch.wanted.len() * SHAPE.vocabulary / self.parts);
        Ok(())
    }
}

/// A table whose row `token` is four times `token`.
fn embedding() -> Arc<PackedMatrix> {
    let values = (0..16).map(|index| (index / 4) as f32);
    let bytes: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
    Arc::new(PackedMatrix::from_bytes(Format::F32, 4, 4, &bytes).unwrap())
}

/// Two devices of which the second fails, at its step `fails_at` since it was first opened.
fn openings(steps: &Arc<AtomicUsize>, fails_at: usize, mood: Mood, seats: Vec<Seat>) -> Vec<(String, Opening)> {
    let parts = seats.len().max(1);
    let mut seats = seats.into_iter();
    let adder = |index: usize| {
        let is_second = index == 1;
        let adder = Adder {
            steps: if is_second { Arc::clone(steps) } else { Arc::default() },
            fails_at,
            mood: if is_second { mood } else { Mood::Well },
            seat: seats.next(),
            parts,
        };
        let opening: Opening = Box::new(move || Ok(Box::new(adder)));
        (format!("card {index}"), opening)
    };
    [0, 1].map(adder).into()
}

fn step(model: &mut dyn LanguageModel) -> Result<Vec<f32>, String> {
    let segment = Segment {
        tokens: &[3],
        first_position: 0,
        block_table: &[0],
        wanted: Wanted::Logits,
    };
    let mut logits = Vec::new();
    match model.forward(&[segment], &mut logits) {
        Ok(()) => Ok(logits),
        Err(error) => Err(error.to_string()),
    }
}

/// Both engines step, the second device fails at its third step, both engines are told, and go on when built again.
fn check(mut engine: impl FnMut(usize) -> Box<dyn LanguageModel>, answer: f32, mood: Mood) {
    let (mut first, mut second) = (engine(0), engine(1));
    assert_eq!(step(&mut *first), Ok(vec![answer; 4]));
    assert_eq!(step(&mut *second), Ok(vec![answer; 4]));
    let reason = step(&mut *first).unwrap_err();
    assert!(
        reason.contains("device card 1 failed") && reason.contains("fell off the bus"),
        "{reason}"
    );
    assert_eq!(reason.contains("panic"), mood == Mood::Panics, "{reason}");
    assert_eq!(step(&mut *second).unwrap_err(), reason);
    drop(first);
    // The first engine is built again while the second still sleeps over devices that are gone.
    let mut first = engine(0);
    assert_eq!(step(&mut *first), Ok(vec![answer; 4]));
    let reason = step(&mut *second).unwrap_err();
    assert!(reason.contains("opened again"), "{reason}");
    let mut second = engine(1);
    assert_eq!(step(&mut *second), Ok(vec![answer; 4]));
    assert_eq!(step(&mut *first), Ok(vec![answer; 4]));
}

#[test]
fn a_device_of_a_pipeline_that_dies_in_a_step_is_named_to_every_lane_and_opened_again() {
    for mood in [Mood::Fails, Mood::Panics] {
        let pipeline = Arc::new(Pipeline::new(vec!["a".to_owned(), "b".to_owned()], 2));
        let steps = Arc::default();
        let lane = |index| -> Box<dyn LanguageModel> {
            let generation = pipeline.open(|| openings(&steps, 2, mood, Vec::new())).unwrap();
            Box::new(Lane {
                index,
                generation,
                shape: SHAPE,
                stages: 2,
                embedding: embedding(),
                pipeline: Arc::clone(&pipeline),
            })
        };
        check(lane, 3.0 + 2.0, mood);
        assert_eq!(pipeline.status().builds, 2);
    }
}

#[test]
fn a_device_of_a_team_that_dies_in_a_step_is_named_to_every_engine_and_nobody_waits_for_it() {
    for mood in [Mood::Fails, Mood::Panics] {
        let names = vec!["a".to_owned(), "b".to_owned()];
        let team = Arc::new(Team::new(names, 2, vec![2, 2], embedding()));
        let steps = Arc::default();
        let member = |index| -> Box<dyn LanguageModel> {
            let generation = team
                .open(|| {
                    let (meeting, seats) = Meeting::new(2);
                    (meeting, openings(&steps, 2, mood, seats))
                })
                .unwrap();
            Box::new(Member {
                index,
                generation,
                shape: SHAPE,
                team: Arc::clone(&team),
            })
        };
        check(member, 3.0 + 1.0, mood);
        assert_eq!(team.status().builds, 2);
    }
}

/// How many tasks each of two devices has begun.
#[derive(Default)]
struct Begun {
    tasks: Mutex<[usize; 2]>,
    more: Condvar,
}

/// A device that does not end its task before the other one has begun so many.
struct Companion {
    index: usize,
    begun: Arc<Begun>,
}

impl Stage for Companion {
    fn forward(&mut self, _lane: usize, batch: &Batch, hidden: &[f32], output: &mut Vec<f32>) -> Result<(), Fault> {
        let mut tasks = self.begun.tasks.lock().unwrap();
        tasks[self.index] += 1;
        self.begun.more.notify_all();
        // The second device's first task goes on while the first device computes its second.
        let (other, wanted) = match (self.index, tasks[self.index]) {
            (0, 2) => (1, 1),
            (1, 1) => (0, 2),
            _ => (0, 0),
        };
        let wait = |tasks: &mut [usize; 2]| tasks[other] < wanted;
        let limit = Duration::from_secs(60);
        let (_tasks, waited) = self.begun.more.wait_timeout_while(tasks, limit, wait).unwrap();
        if waited.timed_out() {
            return Err("the other device never came to its task".into());
        }
        output.clear();
        output.extend_from_slice(hidden);
        output.truncate(batch.wanted.len() * SHAPE.vocabulary);
        Ok(())
    }
}

#[test]
fn while_one_lane_is_on_the_second_device_another_is_on_the_first() {
    let pipeline = Arc::new(Pipeline::new(vec!["a".to_owned(), "b".to_owned()], 2));
    let begun = Arc::<Begun>::default();
    let openings = || {
        let device = |index| {
            let begun = Arc::clone(&begun);
            let opening: Opening = Box::new(move || Ok(Box::new(Companion { index, begun })));
            (format!("card {index}"), opening)
        };
        [0, 1].map(device).into()
    };
    let generation = pipeline.open(openings).unwrap();
    std::thread::scope(|scope| {
        for index in 0..2 {
            let pipeline = Arc::clone(&pipeline);
            scope.spawn(move || {
                let mut lane = Lane {
                    index,
                    generation,
                    shape: SHAPE,
                    stages: 2,
                    embedding: embedding(),
                    pipeline,
                };
                assert_eq!(step(&mut lane), Ok(vec![3.0; 4]));
            });
        }
    });
    let status = pipeline.status();
    assert!(status.together > Duration::ZERO, "{status:?}");
    assert!(
        status.devices.iter().all(|device| device.busy >= status.together),
        "{status:?}"
    );
}
