//! Engines, clients and chance on one thread: everything but the threads is the real thing.
//!
//! Chance decides who moves next. A worker that said it is idle moves again only when its inbox would wake its thread,
//! so a lost wake-up shows as a job that never ends.

use std::sync::{Arc, Mutex};

use super::model::{Dice, Faults, Script, ScriptedModel, lock, logits_after, state_after};
use super::rule::Rule;
use crate::blocks::blocks_for;
use crate::constraint::{Allowed, Constraint, Mask};
use crate::dispatch::Dispatcher;
use crate::job::{Event, Finish, Job, Refused, Sampling, Want};
use crate::model::{BLOCK_TOKENS, LanguageModel, ModelShape, Pooling};
use crate::replies::Replies;
use crate::sampler::random::mix;
use crate::sampler::{Choice, Sampler, Scratch};
use crate::settings::{EngineSettings, EngineSpec, ModelFactory};
use crate::status::EngineState;
use crate::worker::{Outcome, Worker};

/// The end token of every job.
pub(super) const END: u32 = 0;
/// Rounds of everyone moving within which all jobs must end.
const ROUNDS_MAX: usize = 20_000;

/// One client and all it heard.
pub(super) struct Client {
    pub(super) job: Job,
    pub(super) replies: Option<Replies>,
    pub(super) started: Option<usize>,
    pub(super) tokens: Vec<u32>,
    pub(super) embedding: Option<Vec<f32>>,
    pub(super) finish: Option<Finish>,
}

/// A whole simulation.
pub(super) struct World {
    pub(super) dice: Dice,
    pub(super) shape: ModelShape,
    pub(super) dispatcher: Arc<Dispatcher>,
    pub(super) script: Arc<Mutex<Script>>,
    pub(super) workers: Vec<Worker>,
    pub(super) clients: Vec<Client>,
    /// Hash of all events in the order in which they were heard.
    pub(super) digest: u64,
    /// By worker: said it is idle, and ended.
    asleep: Vec<bool>,
    ended: Vec<bool>,
}

/// Settings with this many engines of equal weight.
pub(super) fn settings(engines: usize) -> EngineSettings {
    let spec = |index| EngineSpec {
        name: format!("scripted {index}"),
        weight: 1,
    };
    EngineSettings::new((0..engines).map(spec).collect())
}

impl World {
    pub(super) fn new(seed: u64, shape: ModelShape, settings: EngineSettings, faults: Faults) -> Self {
        settings.check().unwrap();
        let engines = settings.engines.len();
        let script = Script::new(seed, engines, faults);
        let dispatcher = Arc::new(Dispatcher::new(settings));
        dispatcher.shape.set(shape).unwrap();
        let shared = Arc::clone(&script);
        let factory: ModelFactory = Arc::new(move |engine| {
            let model = ScriptedModel::build(engine, shape, Arc::clone(&shared))?;
            Ok(Box::new(model) as Box<dyn LanguageModel>)
        });
        let worker = |index| {
            let mut worker = Worker::new(index, Arc::clone(&dispatcher), Arc::clone(&factory));
            worker.load();
            worker
        };
        let workers: Vec<Worker> = (0..engines).map(worker).collect();
        let failed = |index: usize| dispatcher.stations[index].gauges.state() == EngineState::Failed;
        let ended = (0..engines).map(failed).collect();
        Self {
            dice: Dice::new(seed),
            shape,
            script,
            workers,
            clients: Vec::new(),
            digest: 0,
            asleep: vec![false; engines],
            ended,
            dispatcher,
        }
    }

    pub(super) fn submit(&mut self, jobs: Vec<Job>) -> Result<usize, Refused> {
        let accepted = self.dispatcher.submit(jobs.clone())?;
        for (job, replies) in jobs.into_iter().zip(accepted.replies) {
            self.clients.push(Client {
                job,
                replies: Some(replies),
                started: None,
                tokens: Vec::new(),
                embedding: None,
                finish: None,
            });
        }
        Ok(accepted.engine)
    }

    /// Lets a worker take one turn, if its thread would be awake.
    pub(super) fn turn(&mut self, index: usize) {
        let awake = !self.asleep[index] || self.dispatcher.stations[index].inbox.has_mail();
        if self.ended[index] || !awake {
            return;
        }
        let outcome = self.workers[index].turn();
        self.asleep[index] = outcome == Outcome::Idle;
        self.ended[index] = outcome == Outcome::Ended;
        self.check_blocks(index);
    }

    /// Lets a client read up to `count` events.
    pub(super) fn read(&mut self, index: usize, count: usize) {
        let client = &mut self.clients[index];
        for _ in 0..count {
            let Some(replies) = &mut client.replies else {
                return;
            };
            let Some(event) = replies.try_next() else {
                if client.finish.is_some() {
                    client.replies = None;
                }
                return;
            };
            let said = format!("{index} {event:?}");
            self.digest = said.bytes().fold(self.digest, |hash, byte| mix(hash ^ u64::from(byte)));
            assert_eq!(client.finish, None, "{event:?} came after the end");
            match event {
                Event::Started { cached_tokens } => {
                    assert_eq!(client.started.replace(cached_tokens), None, "started twice");
                    assert!(cached_tokens < client.job.prompt.len());
                }
                Event::Token(token) => {
                    assert!(client.started.is_some(), "a token before the start");
                    client.tokens.push(token.id);
                }
                Event::Embedding(values) => {
                    assert!(client.started.is_some(), "an embedding before the start");
                    assert_eq!(client.embedding.replace(values), None, "two embeddings");
                }
                Event::Finished(finish) => client.finish = Some(finish),
            }
        }
    }

    /// Lets a client go away. What it heard so far stays to be checked.
    pub(super) fn leave(&mut self, index: usize) {
        self.clients[index].replies = None;
    }

    /// Everyone reads and works in turn until every job has ended and every engine sleeps.
    pub(super) fn run_to_the_end(&mut self) {
        for _ in 0..ROUNDS_MAX {
            (0..self.workers.len()).for_each(|index| self.turn(index));
            (0..self.clients.len()).for_each(|index| self.read(index, usize::MAX));
            if (0..self.workers.len()).all(|index| self.rests(index)) {
                let waits = |client: &&Client| client.replies.is_some();
                assert_eq!(self.clients.iter().filter(waits).count(), 0, "jobs that never end");
                return;
            }
        }
        panic!("engines that never rest");
    }

    /// Whether the worker's thread would be asleep or gone.
    fn rests(&self, index: usize) -> bool {
        let mail = self.dispatcher.stations[index].inbox.has_mail();
        self.ended[index] || (self.asleep[index] && !mail)
    }

    /// Every block's users are those that have it in their tables; every cached block holds what the cache says.
    fn check_blocks(&self, index: usize) {
        let Some(engine) = &self.workers[index].engine else {
            return;
        };
        let scheduler = &engine.scheduler;
        let mut users = vec![0; self.shape.kv_blocks];
        for sequence in &scheduler.running {
            assert_eq!(sequence.block_table.len(), blocks_for(sequence.computed));
            for block in &sequence.block_table {
                users[*block as usize] += 1;
            }
        }
        for sequence in &scheduler.waiting {
            assert!(sequence.block_table.is_empty() && sequence.computed == 0);
        }
        scheduler.pool.check(&users);
        let script = lock(&self.script);
        let cells = &script.cells[index];
        for (block, link) in scheduler.pool.cached() {
            let start = block as usize * BLOCK_TOKENS;
            let held = cells[start..start + BLOCK_TOKENS].iter().map(|cell| cell.map(|c| c.1));
            let expected = link.tokens.iter().map(|token| Some(*token));
            assert!(held.eq(expected), "cached block {block} changed");
        }
    }

    /// After the end: nothing broken, nothing leaked, every job counted once.
    pub(super) fn check_end(&self) {
        let script = lock(&self.script);
        assert!(script.violations.is_empty(), "{:#?}", script.violations);
        let limits = &self.dispatcher.settings;
        let most = limits.step_tokens_max + limits.slots;
        assert!(script.largest_step <= most, "{} rows", script.largest_step);
        let alive = self.workers.iter().filter(|worker| worker.engine.is_some()).count();
        assert_eq!(script.models_alive, alive, "models alive");
        drop(script);
        let mut counted = 0;
        for (index, station) in self.dispatcher.stations.iter().enumerate() {
            let status = station.gauges.look(index, "");
            assert_eq!((status.running, status.waiting), (0, 0), "{status:?}");
            assert_eq!(status.kv_blocks_used, 0, "{status:?}");
            counted += status.requests_finished + status.requests_cancelled + status.requests_failed;
            if let Some(engine) = &self.workers[index].engine {
                engine.scheduler.pool.check(&vec![0; self.shape.kv_blocks]);
            }
        }
        assert_eq!(counted, self.clients.len() as u64, "every job ends exactly once");
        self.clients.iter().for_each(|client| check_answer(client, &self.shape));
    }

    /// How many clients were told that their job failed.
    pub(super) fn failed(&self) -> usize {
        let failed = |client: &&Client| matches!(client.finish, Some(Finish::Failed(_)));
        self.clients.iter().filter(failed).count()
    }
}

/// What a client heard is what the model says when asked alone, from the first token on.
fn check_answer(client: &Client, shape: &ModelShape) {
    if client.job.want == Want::Embedding {
        assert_eq!(client.tokens, [0; 0], "{:?}", client.job);
        if client.embedding.is_some() || client.finish == Some(Finish::End) {
            let expected = embedding(&client.job.prompt, shape);
            assert_eq!(client.embedding, Some(expected), "{:?}", client.job);
        }
        return;
    }
    assert_eq!(client.embedding, None, "{:?}", client.job);
    let (tokens, finish) = answer(&client.job, shape);
    match &client.finish {
        Some(Finish::Failed(_)) | None => {
            assert!(tokens.starts_with(&client.tokens), "{:?}", client.job);
        }
        Some(heard) => {
            assert_eq!(client.tokens, tokens, "{:?}", client.job);
            assert_eq!(*heard, finish, "{:?}", client.job);
        }
    }
}

/// The model's own sequential answer: no blocks, no batch, no engine.
pub(super) fn answer(job: &Job, shape: &ModelShape) -> (Vec<u32>, Finish) {
    let mut tokens = job.prompt.clone();
    let mut sampler = Sampler::new(job.sampling.clone(), &job.prompt);
    let mut scratch = Scratch::default();
    let most = (job.prompt.len() + job.output_tokens_max).min(shape.sequence_tokens_max());
    let mut finish = Finish::Length;
    let mut constraint = job.constraint.clone();
    while tokens.len() < most {
        let mut logits = logits_after(&tokens, shape.vocabulary);
        if let Some(constraint) = &mut constraint {
            mask(&mut logits, job, constraint.as_mut());
            if logits.iter().all(|logit| *logit == f32::NEG_INFINITY) {
                finish = Finish::NothingLeft;
                break;
            }
        }
        let token = sampler.sample(&logits, &Choice::Free, &mut scratch).unwrap();
        if !job.ignore_end && job.end_tokens.contains(&token.id) {
            finish = Finish::End;
            break;
        }
        if let Some(constraint) = &mut constraint {
            constraint.accept(token.id).unwrap();
        }
        tokens.push(token.id);
    }
    (tokens.split_off(job.prompt.len()), finish)
}

/// The model's own embedding of a text.
pub(super) fn embedding(text: &[u32], shape: &ModelShape) -> Vec<f32> {
    let state = |end: usize| state_after(&text[..end], shape.hidden);
    match shape.pooling {
        Pooling::Last => state(text.len()),
        Pooling::First => state(1),
        Pooling::Mean => {
            let mut sum = vec![0.0; shape.hidden];
            for end in 1..=text.len() {
                let values = state(end).into_iter().map(f64::from);
                sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            }
            #[expect(clippy::cast_possible_truncation, reason = "an embedding is of singles")]
            let mean = |sum: &f64| (sum / text.len() as f64) as f32;
            sum.iter().map(mean).collect()
        }
    }
}

/// Leaves a chance to those tokens only that may come.
fn mask(logits: &mut [f32], job: &Job, constraint: &mut dyn Constraint) {
    let mut held = Mask::default();
    held.reset(logits.len());
    let allowed = constraint.allow(&mut held).unwrap();
    for (token, logit) in (0..).zip(logits) {
        let ends = job.end_tokens.contains(&token);
        let may_come = match allowed {
            Allowed::Anything => true,
            Allowed::AnythingButEnd => !ends || job.ignore_end,
            Allowed::Masked { end } if ends => end && !job.ignore_end,
            Allowed::Masked { .. } => held.holds(token),
        };
        if !may_come {
            *logit = f32::NEG_INFINITY;
        }
    }
}

/// A job of random size and sampling; prompts often begin alike.
pub(super) fn random_job(dice: &mut Dice, shape: &ModelShape) -> Job {
    let longest = shape.sequence_tokens_max() - 1;
    let prompt_tokens = match dice.below(8) {
        0 => longest,
        1 => 1,
        _ => dice.between(1, longest),
    };
    let family = dice.below(3);
    let own = dice.between(0, prompt_tokens);
    let vocabulary = shape.vocabulary;
    let prompt = (0..prompt_tokens).map(|position| {
        let token = if position < own {
            position * 7 + family
        } else {
            dice.below(vocabulary)
        };
        u32::try_from(token % vocabulary).unwrap()
    });
    let prompt = prompt.collect();
    if dice.one_in(4) {
        return Job::embedding(prompt, dice.below(2) as u64);
    }
    let constraint = dice.one_in(3).then(|| Box::new(Rule::new(dice)) as Box<dyn Constraint>);
    Job {
        prompt,
        want: Want::Tokens,
        sampling: random_sampling(dice),
        output_tokens_max: dice.pick(&[0, 1, 2, 5, 20, 1000]),
        end_tokens: Arc::from([END]),
        ignore_end: dice.one_in(3),
        cache_scope: dice.below(2) as u64,
        constraint,
    }
}

fn random_sampling(dice: &mut Dice) -> Sampling {
    Sampling {
        temperature: dice.pick(&[0.0, 0.6, 1.0, 1.5]),
        top_p: dice.pick(&[1.0, 0.95, 0.5]),
        top_k: dice.pick(&[0, 0, 1, 5]),
        min_p: dice.pick(&[0.0, 0.0, 0.1]),
        repetition_penalty: dice.pick(&[1.0, 1.0, 1.2]),
        presence_penalty: dice.pick(&[0.0, 0.0, 0.5]),
        frequency_penalty: dice.pick(&[0.0, 0.0, 0.3]),
        seed: dice.below(1000) as u64,
        logit_bias: Vec::new(),
        logprobs: dice.pick(&[None, None, Some(2)]),
    }
}
