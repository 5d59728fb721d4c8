//! The engines with their threads, seen from outside: who gets a job, what a client hears, how it all ends.
//!
//! The model here is as plain as can be, and steps only when the test allows it: nothing depends on who is faster.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{ThreadId, current};

use engine::{
    Allowed, BLOCK_TOKENS, Constraint, ConstraintError, EngineError, EngineSettings, EngineSpec, EngineState, Engines,
    Event, Finish, Job, LanguageModel, Mask, ModelError, ModelFactory, ModelShape, Pooling, Refused, Replies, Sampling,
    Segment, Want, Wanted,
};

const SHAPE: ModelShape = ModelShape {
    vocabulary: 50,
    context_tokens: 200,
    kv_blocks: 64,
    hidden: 1,
    pooling: Pooling::Last,
};

/// Lets steps through one by one, or all.
#[derive(Default)]
struct Gate {
    steps: Mutex<Option<usize>>,
    changed: Condvar,
}

impl Gate {
    /// Open to all steps.
    fn open() -> Arc<Self> {
        Arc::default()
    }

    fn allow(&self, steps: Option<usize>) {
        *self.steps.lock().unwrap() = steps;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let closed = |steps: &mut Option<usize>| *steps == Some(0);
        let mut steps = self.changed.wait_while(self.steps.lock().unwrap(), closed).unwrap();
        *steps = steps.map(|left| left - 1);
    }
}

/// The token after t is t + 1; after 48 comes the end token 49.
struct Counting {
    gate: Arc<Gate>,
    thread: ThreadId,
    faults: Arc<Mutex<VecDeque<&'static str>>>,
}

impl LanguageModel for Counting {
    fn shape(&self) -> ModelShape {
        SHAPE
    }

    fn forward(&mut self, batch: &[Segment<'_>], logits: &mut Vec<f32>) -> Result<(), ModelError> {
        assert_eq!(self.thread, current().id(), "used where it was built");
        self.gate.pass();
        // Unlocked before a panic, which would spoil the lock.
        let fault = self.faults.lock().unwrap().pop_front();
        match fault {
            Some("error") => return Err(ModelError("scripted".to_owned())),
            Some(other) => panic!("{other}"),
            None => {}
        }
        logits.clear();
        for segment in batch.iter().filter(|segment| segment.wanted == Wanted::Logits) {
            let next = segment.tokens.last().map_or(0, |token| (*token as usize + 1) % 50);
            logits.extend((0..50).map(|id| if id == next { 9.0_f32 } else { 0.0 }));
        }
        Ok(())
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        assert_eq!(self.thread, current().id(), "dropped where it was built");
    }
}

/// Anything but the end for so many tokens, then nothing but the end.
#[derive(Debug, Clone)]
struct Brief {
    tokens_left: usize,
}

impl Constraint for Brief {
    fn allow(&mut self, _mask: &mut Mask) -> Result<Allowed, ConstraintError> {
        Ok(match self.tokens_left {
            0 => Allowed::Masked { end: true },
            _ => Allowed::AnythingButEnd,
        })
    }

    fn accept(&mut self, _token: u32) -> Result<(), ConstraintError> {
        self.tokens_left -= 1;
        Ok(())
    }

    fn copy(&self) -> Box<dyn Constraint> {
        Box::new(self.clone())
    }
}

struct Bench {
    engines: Engines,
    gate: Arc<Gate>,
    faults: Arc<Mutex<VecDeque<&'static str>>>,
    built: Arc<AtomicUsize>,
}

fn settings(weights: &[u32]) -> EngineSettings {
    let spec = |weight: &u32| EngineSpec {
        name: "cpu".to_owned(),
        weight: *weight,
    };
    EngineSettings::new(weights.iter().map(spec).collect())
}

fn start(settings: EngineSettings) -> Bench {
    let (gate, built) = (Gate::open(), Arc::new(AtomicUsize::new(0)));
    let faults = Arc::new(Mutex::new(VecDeque::new()));
    let shared = (Arc::clone(&gate), Arc::clone(&faults), Arc::clone(&built));
    let factory: ModelFactory = Arc::new(move |_| {
        shared.2.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Counting {
            gate: Arc::clone(&shared.0),
            faults: Arc::clone(&shared.1),
            thread: current().id(),
        }))
    });
    Bench {
        engines: Engines::start(settings, factory).unwrap(),
        gate,
        faults,
        built,
    }
}

fn job(first: u32, output_tokens_max: usize) -> Job {
    Job {
        prompt: vec![first],
        want: Want::Tokens,
        sampling: Sampling {
            temperature: 0.0,
            ..Sampling::default()
        },
        output_tokens_max,
        end_tokens: Arc::from([49]),
        ignore_end: false,
        cache_scope: 0,
        constraint: None,
    }
}

impl Bench {
    fn submit(&self, job: Job) -> Replies {
        self.engines.submit(vec![job]).unwrap().replies.remove(0)
    }

    fn end(self) {
        self.gate.allow(None);
        self.engines.stop();
        self.engines.join();
        let ended = |state| matches!(state, EngineState::Stopped | EngineState::Failed);
        assert!(self.engines.status().iter().all(|status| ended(status.state)));
    }
}

/// All tokens and the end.
async fn hear(replies: &mut Replies) -> (Vec<u32>, Finish) {
    let mut tokens = Vec::new();
    while let Some(event) = replies.next().await {
        match event {
            Event::Started { .. } => assert!(tokens.is_empty()),
            Event::Token(token) => tokens.push(token.id),
            Event::Embedding(_) => panic!("nobody asked for an embedding"),
            Event::Finished(finish) => {
                assert_eq!(replies.next().await, None, "nothing follows the end");
                return (tokens, finish);
            }
        }
    }
    panic!("no end after {tokens:?}");
}

#[tokio::test]
async fn a_job_gives_its_tokens_and_ends_by_end_token_or_length() {
    let bench = start(settings(&[1]));
    let heard = hear(&mut bench.submit(job(44, 100))).await;
    assert_eq!(heard, (vec![45, 46, 47, 48], Finish::End));
    let heard = hear(&mut bench.submit(job(44, 2))).await;
    assert_eq!(heard, (vec![45, 46], Finish::Length));
    let mut through = job(47, 4);
    through.ignore_end = true;
    let heard = hear(&mut bench.submit(through)).await;
    assert_eq!(heard, (vec![48, 49, 0, 1], Finish::Length));
    bench.end();
}

#[tokio::test]
async fn an_end_without_an_end_token_is_told_apart_and_counts_no_token() {
    let bench = start(settings(&[1]));
    let brief = |ignore_end| Job {
        ignore_end,
        constraint: Some(Box::new(Brief { tokens_left: 3 })),
        ..job(10, 100)
    };
    let heard = hear(&mut bench.submit(brief(true))).await;
    assert_eq!(heard, (vec![11, 12, 13], Finish::NothingLeft));
    assert_eq!(bench.engines.status()[0].generation_tokens, 3);
    let heard = hear(&mut bench.submit(brief(false))).await;
    assert_eq!(heard, (vec![11, 12, 13], Finish::End));
    let status = &bench.engines.status()[0];
    assert_eq!((status.generation_tokens, status.requests_finished), (3 + 4, 2));
    bench.end();
}

#[tokio::test]
async fn ten_jobs_in_a_row_go_to_two_engines_in_turn() {
    let bench = start(settings(&[1, 1]));
    for turn in 0..10 {
        let mut accepted = bench.engines.submit(vec![job(1, 3)]).unwrap();
        assert_eq!(accepted.engine, turn % 2);
        assert_eq!(accepted.replies[0].engine(), turn % 2);
        hear(&mut accepted.replies[0]).await;
    }
    bench.end();
}

#[tokio::test]
async fn weights_three_to_one_send_fifteen_of_twenty_to_the_first() {
    let bench = start(settings(&[3, 1]));
    let mut dealt = [0, 0];
    for _ in 0..20 {
        let mut accepted = bench.engines.submit(vec![job(1, 1)]).unwrap();
        dealt[accepted.engine] += 1;
        hear(&mut accepted.replies[0]).await;
    }
    assert_eq!(dealt, [15, 5]);
    bench.end();
}

#[tokio::test]
async fn a_failed_step_and_a_panic_move_the_job_and_the_client_hears_no_difference() {
    for fault in ["error", "panic"] {
        for engines in [1, 2] {
            let bench = start(settings(&vec![1; engines]));
            bench.gate.allow(Some(3));
            let mut replies = bench.submit(job(1, 30));
            for _ in 0..3 {
                replies.next().await;
            }
            bench.faults.lock().unwrap().push_back(fault);
            bench.gate.allow(None);
            let (tokens, finish) = hear(&mut replies).await;
            let given: Vec<u32> = (4..=31).collect();
            assert_eq!(tokens, given, "after the start and two tokens");
            assert_eq!(finish, Finish::Length);
            assert_eq!(replies.engine(), engines - 1);
            let status = &bench.engines.status()[0];
            assert_eq!((status.failures, status.requests_moved), (1, 1));
            assert!(
                status
                    .failure
                    .as_ref()
                    .unwrap()
                    .contains(if fault == "error" { "scripted" } else { "panic" })
            );
            // The engine is back before it can be asked to stop, or stops instead: either way it ends.
            bench.end();
        }
    }
}

#[tokio::test]
async fn a_full_queue_refuses_and_a_dropped_reply_makes_room() {
    let mut limits = settings(&[1]);
    limits.slots = 1;
    limits.queue_jobs_max = 1;
    let bench = start(limits);
    bench.gate.allow(Some(1));
    let mut first = bench.submit(job(1, 40));
    assert_eq!(first.next().await, Some(Event::Started { cached_tokens: 0 }));
    let second = bench.submit(job(1, 40));
    let full = Refused::QueueFull {
        waiting: 1,
        queue_jobs_max: 1,
    };
    assert_eq!(bench.engines.submit(vec![job(1, 1)]).unwrap_err(), full);
    drop(second);
    drop(first);
    bench.gate.allow(None);
    // Refused until the engine has noticed: at its next step, which needs no clock but may need asking again.
    let mut third = loop {
        match bench.engines.submit(vec![job(1, 2)]) {
            Ok(accepted) => break accepted,
            Err(refused) => assert_eq!(refused, full),
        }
        std::thread::yield_now();
    };
    assert_eq!(hear(&mut third.replies[0]).await, (vec![2, 3], Finish::Length));
    let status = &bench.engines.status()[0];
    assert_eq!((status.requests_cancelled, status.requests_finished), (2, 1));
    bench.end();
}

#[tokio::test]
async fn a_slow_reader_gets_every_token_and_holds_up_nobody() {
    let mut limits = settings(&[1]);
    limits.reply_events_max = 3;
    let bench = start(limits);
    let mut endless = job(1, 150);
    endless.ignore_end = true;
    let mut slow = bench.submit(endless);
    for _ in 0..20 {
        assert_eq!(hear(&mut bench.submit(job(1, 10))).await.0.len(), 10);
    }
    let (tokens, finish) = hear(&mut slow).await;
    assert_eq!((tokens.len(), finish), (150, Finish::Length));
    bench.end();
}

#[tokio::test]
async fn stopping_ends_running_and_waiting_jobs_as_failed() {
    let mut limits = settings(&[1]);
    limits.slots = 1;
    let bench = start(limits);
    bench.gate.allow(Some(1));
    let mut replies = [bench.submit(job(1, 40)), bench.submit(job(1, 40))];
    replies[0].next().await;
    bench.engines.stop();
    assert_eq!(bench.engines.submit(vec![job(1, 1)]).unwrap_err(), Refused::Stopping);
    bench.gate.allow(None);
    for replies in &mut replies {
        let (_, finish) = hear(replies).await;
        assert_eq!(finish, Finish::Failed("the server is stopping".to_owned()));
    }
    bench.engines.join();
    assert_eq!(bench.engines.status()[0].state, EngineState::Stopped);
    assert_eq!(bench.engines.status()[0].waiting, 0);
    bench.end();
}

/// Eight clients at once, reading and leaving as it comes; a lost wake-up would leave one of them waiting for ever.
#[test]
fn many_clients_on_threads_of_their_own_all_get_their_end() {
    let mut limits = settings(&[1, 1]);
    limits.reply_events_max = 3;
    limits.slots = 3;
    let bench = start(limits);
    std::thread::scope(|scope| {
        for client in 0..8_u32 {
            let bench = &bench;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                for turn in 0..100 {
                    let mut replies = bench.submit(job((client + turn) % 9, 30));
                    if turn % 3 == 0 {
                        runtime.block_on(replies.next());
                        continue;
                    }
                    let (tokens, finish) = runtime.block_on(hear(&mut replies));
                    let first = (client + turn) % 9;
                    let expected: Vec<u32> = (first + 1..=first + 30).collect();
                    assert_eq!((tokens, finish), (expected, Finish::Length));
                }
            });
        }
    });
    bench.end();
}

#[tokio::test]
async fn the_last_engines_dropped_stops_them() {
    let bench = start(settings(&[1, 1]));
    bench.gate.allow(Some(1));
    let mut replies = bench.submit(job(1, 40));
    replies.next().await;
    drop(bench.engines);
    bench.gate.allow(None);
    let (_, finish) = hear(&mut replies).await;
    assert!(matches!(finish, Finish::Failed(_)), "{finish:?}");
}

#[test]
fn engines_that_cannot_start_say_why() {
    let broken: ModelFactory = Arc::new(|engine| Err(ModelError(format!("no memory on {engine}"))));
    let error = Engines::start(settings(&[1, 1]), broken).unwrap_err();
    let expected = "no engine could start: engine 0 (cpu): no memory on 0; engine 1 (cpu): no memory on 1";
    assert_eq!(error.to_string(), expected);
    let panics: ModelFactory = Arc::new(|_| panic!("driver"));
    let error = Engines::start(settings(&[1]), panics).unwrap_err();
    assert!(error.to_string().contains("panic: driver"), "{error}");
}

#[tokio::test]
async fn one_engine_that_cannot_start_leaves_the_work_to_the_others() {
    let factory: ModelFactory = Arc::new(|engine| {
        if engine == 0 {
            return Err(ModelError("no memory".to_owned()));
        }
        Ok(Box::new(Counting {
            gate: Gate::open(),
            faults: Arc::default(),
            thread: current().id(),
        }))
    });
    let engines = Engines::start(settings(&[1, 1]), factory).unwrap();
    for _ in 0..3 {
        let mut accepted = engines.submit(vec![job(1, 2)]).unwrap();
        assert_eq!(accepted.engine, 1);
        hear(&mut accepted.replies[0]).await;
    }
    let status = engines.status();
    assert_eq!(status[0].state, EngineState::Failed);
    assert_eq!(status[0].failure.as_deref(), Some("no memory"));
    assert_eq!(engines.shape(), SHAPE);
    engines.stop();
    engines.join();
}

#[test]
fn settings_out_of_bounds_are_named() {
    let check = |change: fn(&mut EngineSettings), named: &str| {
        let mut limits = settings(&[1]);
        change(&mut limits);
        let never: ModelFactory = Arc::new(|_| panic!("must not be asked"));
        match Engines::start(limits, never) {
            Err(EngineError::Setting { field, .. }) => assert_eq!(field, named),
            other => panic!("{named}: {other:?}"),
        }
    };
    check(|limits| limits.engines.clear(), "engines");
    check(|limits| limits.engines[0].weight = 0, "weight");
    check(|limits| limits.slots = 0, "slots");
    check(|limits| limits.step_tokens_max = 0, "step_tokens_max");
    check(|limits| limits.reply_events_max = 2, "reply_events_max");
}

#[tokio::test]
async fn prompts_and_vocabulary_are_checked_before_anything_is_queued() {
    let bench = start(settings(&[1]));
    let refused = |job: Job| bench.engines.submit(vec![job]).unwrap_err();
    assert_eq!(
        refused(Job {
            prompt: Vec::new(),
            ..job(1, 1)
        }),
        Refused::EmptyPrompt
    );
    let unknown = Refused::TokenOutOfRange {
        token: 50,
        vocabulary: 50,
    };
    assert_eq!(refused(job(50, 1)), unknown);
    let long = Refused::PromptTooLong {
        tokens: 200,
        context_tokens: 200,
    };
    assert_eq!(
        refused(Job {
            prompt: vec![1; 200],
            ..job(1, 1)
        }),
        long
    );
    assert_eq!(bench.built.load(Ordering::SeqCst), 1);
    assert_eq!(bench.engines.status()[0].waiting, 0);
    assert_eq!(BLOCK_TOKENS, 16);
    bench.end();
}
