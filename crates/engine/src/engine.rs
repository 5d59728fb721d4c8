//! One engine: a model, its sequences, and the step that brings both together. Single-threaded and without a clock.
//!
//! A step is drop, plan, forward, sample: one visible line in [`Engine::step`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::dispatch::Station;
use crate::job::{Event, Finish, Token};
use crate::model::{LanguageModel, ModelError, ModelShape, Segment, Wanted};
use crate::sampler::Scratch;
use crate::scheduler::{Scheduler, Turn};
use crate::sequence::{NoToken, Sequence};
use crate::settings::EngineSettings;
use crate::status::Gauges;

/// A model at work.
pub(crate) struct Engine {
    pub(crate) scheduler: Scheduler,
    model: Box<dyn LanguageModel>,
    shape: ModelShape,
    stations: Arc<[Station]>,
    index: usize,
    logits: Vec<f32>, // [segments that want logits, vocabulary]
    states: Vec<f32>, // [states wanted, hidden]
    scratch: Scratch,
}

/// What is left when an engine is taken down.
pub(crate) struct Remains {
    pub(crate) model: Box<dyn LanguageModel>,
    /// Oldest first, without blocks.
    pub(crate) sequences: Vec<Sequence>,
}

impl Engine {
    pub(crate) fn new(
        model: Box<dyn LanguageModel>,
        index: usize,
        stations: Arc<[Station]>,
        settings: &EngineSettings,
    ) -> Self {
        let shape = model.shape();
        let scheduler = Scheduler::new(shape.kv_blocks, settings.slots, settings.step_tokens_max);
        Self {
            scheduler,
            model,
            shape,
            stations,
            index,
            logits: Vec::new(),
            states: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    /// Takes a sequence in. It runs when its turn comes.
    pub(crate) fn submit(&mut self, sequence: Sequence) {
        if sequence.is_full() {
            // Nothing may be given out: no step is needed.
            if !sequence.started {
                sequence.outlet.send(Event::Started { cached_tokens: 0 });
            }
            self.end(sequence, Finish::Length);
        } else {
            self.scheduler.wait(sequence);
        }
    }

    /// Runs one step. `false` if nothing can run until a client reads or a job comes.
    ///
    /// # Errors
    /// When the model failed. The engine must then be taken down: see [`Engine::take_down`].
    pub(crate) fn step(&mut self) -> Result<bool, ModelError> {
        let cancelled = self.scheduler.drop_cancelled();
        self.leave(cancelled, |gauges| gauges.requests_cancelled.add(cancelled));
        let turns = self.scheduler.plan();
        if !turns.is_empty() {
            self.start(&turns);
            self.forward(&turns)?;
            self.settle(&turns);
        }
        self.publish();
        Ok(!turns.is_empty())
    }

    /// Tells sequences that run for the first time that they have started.
    fn start(&mut self, turns: &[Turn]) {
        for turn in turns {
            let Some(sequence) = self.scheduler.running.get_mut(turn.running_index) else {
                continue;
            };
            sequence.in_step = true;
            if !sequence.started {
                sequence.started = true;
                let (cached_tokens, tokens) = (sequence.computed, sequence.prompt_tokens());
                sequence.outlet.send(Event::Started { cached_tokens });
                self.gauges(|gauges| {
                    gauges.prompt_tokens.add(tokens);
                    gauges.prefix_queries_tokens.add(tokens);
                    gauges.prefix_hits_tokens.add(cached_tokens);
                });
            }
        }
    }

    /// Runs the model over these turns; `logits` and `states` are then what they want.
    fn forward(&mut self, turns: &[Turn]) -> Result<(), ModelError> {
        let running = &self.scheduler.running;
        let segment = |turn: &Turn| {
            let sequence = running.get(turn.running_index)?;
            Some(Segment {
                tokens: sequence.next_tokens(turn.tokens),
                first_position: sequence.computed,
                block_table: &sequence.block_table,
                wanted: sequence.wanted(turn.tokens),
            })
        };
        let batch: Vec<Segment<'_>> = turns.iter().filter_map(segment).collect();
        let wants_logits = |segment: &&Segment<'_>| segment.wanted == Wanted::Logits;
        let logits = batch.iter().filter(wants_logits).count() * self.shape.vocabulary;
        let states = batch.iter().map(|segment| segment.wanted.states(segment.tokens.len()));
        let wanted = logits + states.sum::<usize>() * self.shape.hidden;
        self.model.forward(&batch, &mut self.logits)?;
        if self.logits.len() != wanted {
            let found = self.logits.len();
            return Err(ModelError(format!(
                "the model gave {found} numbers, {wanted} were wanted"
            )));
        }
        self.states = self.logits.split_off(logits);
        self.gauges(|gauges| {
            let rows = turns.iter().map(|turn| turn.tokens).sum();
            gauges.batch_rows_last.store(rows, Ordering::Relaxed);
            gauges.steps.add(1);
        });
        Ok(())
    }

    /// Samples where logits were wanted, adds up states, gives out both, caches full blocks, ends what has ended.
    fn settle(&mut self, turns: &[Turn]) {
        let alone = turns.len() == 1;
        let (logits, states) = (std::mem::take(&mut self.logits), std::mem::take(&mut self.states));
        let mut rows = logits.chunks_exact(self.shape.vocabulary.max(1));
        let mut states = states.chunks_exact(self.shape.hidden.max(1));
        let mut ended = Vec::new();
        for turn in turns {
            let Some(sequence) = self.scheduler.running.get_mut(turn.running_index) else {
                continue;
            };
            sequence.in_step = false;
            let serial = sequence.serial;
            let finish = match sequence.wanted(turn.tokens) {
                Wanted::Nothing => {
                    self.scheduler.commit(*turn);
                    None
                }
                Wanted::Logits => match choose(sequence, rows.next().unwrap_or_default(), &mut self.scratch) {
                    Ok(Some(token)) => self.give_out(*turn, token, alone),
                    Ok(None) => {
                        self.scheduler.commit(*turn);
                        Some(Finish::NothingLeft)
                    }
                    Err(reason) => Some(self.refuse_row(*turn, &reason)),
                },
                wanted => {
                    let own = states.by_ref().take(wanted.states(turn.tokens));
                    self.add_states(*turn, own)
                }
            };
            ended.extend(finish.map(|finish| (serial, finish)));
        }
        self.logits = logits;
        let remove = |(serial, finish)| Some((self.scheduler.remove(serial)?, finish));
        let gone: Vec<(Sequence, Finish)> = ended.into_iter().filter_map(remove).collect();
        if !gone.is_empty() {
            // Before their clients hear of it: who has seen its end shall not find itself among the running.
            self.publish();
        }
        for (sequence, finish) in gone {
            self.end(sequence, finish);
        }
    }

    /// Gives a token to its sequence; how it ended, if that was the last.
    fn give_out(&mut self, turn: Turn, token: Token, alone: bool) -> Option<Finish> {
        self.scheduler.commit(turn);
        let sequence = self.scheduler.running.get_mut(turn.running_index)?;
        if alone {
            // It ran without company and nothing failed: whatever did fail was not its doing.
            sequence.strikes = 0;
        }
        let finish = sequence.take(token);
        self.gauges(|gauges| gauges.generation_tokens.add(1));
        finish
    }

    /// Adds states to a sequence's embedding; how it ended, if they were the last.
    fn add_states<'a>(&mut self, turn: Turn, states: impl Iterator<Item = &'a [f32]>) -> Option<Finish> {
        let sequence = self.scheduler.running.get_mut(turn.running_index)?;
        let embedding = sequence.embedding.as_mut()?;
        states.for_each(|state| embedding.add(state));
        if turn.tokens < sequence.remaining() {
            self.scheduler.commit(turn);
            return None;
        }
        let Some(mean) = sequence.embedding.as_ref()?.mean() else {
            return Some(self.refuse_row(turn, &NoToken::States));
        };
        sequence.outlet.send(Event::Embedding(mean));
        self.scheduler.commit(turn);
        Some(Finish::End)
    }

    /// Ends a sequence that cannot go on. If its row is no use, what it computed may be no use either, so nobody shall
    /// find it in the cache.
    fn refuse_row(&mut self, turn: Turn, reason: &NoToken) -> Finish {
        if let NoToken::Row(_) | NoToken::States = reason {
            self.gauges(|gauges| gauges.rows_not_finite.add(1));
        }
        if let (NoToken::Row(_) | NoToken::States | NoToken::Panic, Some(sequence)) =
            (reason, self.scheduler.running.get(turn.running_index))
        {
            self.scheduler.pool.forget(&sequence.block_table);
        }
        Finish::Failed(reason.to_string())
    }

    /// Ends a sequence that has no blocks any more.
    fn end(&self, sequence: Sequence, finish: Finish) {
        self.leave(1, |gauges| match finish {
            Finish::End | Finish::NothingLeft | Finish::Length => gauges.requests_finished.add(1),
            Finish::Failed(_) => gauges.requests_failed.add(1),
        });
        sequence.finish(finish);
    }

    /// Takes jobs off this engine's count, and counts where they went.
    fn leave(&self, jobs: usize, count: impl Fn(&Gauges)) {
        if jobs > 0 {
            self.gauges(|gauges| {
                gauges.jobs.fetch_sub(jobs, Ordering::SeqCst);
                count(gauges);
            });
        }
    }

    /// Shows the engine's present numbers to the outside.
    fn publish(&mut self) {
        let preemptions = std::mem::take(&mut self.scheduler.preemptions);
        let (running, pool) = (&self.scheduler.running, &self.scheduler.pool);
        let paused = running.iter().filter(|sequence| sequence.paused).count();
        self.gauges(|gauges| {
            gauges.preemptions.add(preemptions);
            gauges.running.store(running.len(), Ordering::Relaxed);
            gauges.paused.store(paused, Ordering::Relaxed);
            gauges.kv_blocks_used.store(pool.used(), Ordering::Relaxed);
            gauges.kv_blocks_cached.store(pool.idle(), Ordering::Relaxed);
        });
    }

    fn gauges(&self, with: impl FnOnce(&Gauges)) {
        if let Some(station) = self.stations.get(self.index) {
            with(&station.gauges);
        }
    }

    /// Takes the engine apart, after a failure or to stop. Sequences that were in a failed step get a strike.
    pub(crate) fn take_down(self) -> Remains {
        let Scheduler { running, waiting, .. } = self.scheduler;
        let mut sequences: Vec<Sequence> = running.into_iter().chain(waiting).collect();
        sequences.sort_by_key(|sequence| sequence.serial);
        let known = sequences.iter().any(|sequence| sequence.in_step);
        for sequence in &mut sequences {
            if sequence.in_step || !known {
                sequence.strikes += 1;
            }
            sequence.in_step = false;
            sequence.paused = false;
            sequence.restart();
        }
        Remains {
            model: self.model,
            sequences,
        }
    }
}

/// The next token of a sequence. A panic while choosing it ends that sequence, not the engine.
fn choose(sequence: &mut Sequence, row: &[f32], scratch: &mut Scratch) -> Result<Option<Token>, NoToken> {
    // Unwind safe: on a panic the sequence ends, and the scratch is filled anew each time.
    catch_unwind(AssertUnwindSafe(|| sequence.choose(row, scratch))).unwrap_or(Err(NoToken::Panic))
}
