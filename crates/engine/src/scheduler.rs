//! Who runs in the next step, and on which blocks.
//!
//! The oldest go first, everywhere: in the batch, in the queue, in the fight for blocks. A step carries the running
//! decodes and up to a budget of prompt tokens. Who finds no block takes it from a paused sequence, else from the
//! youngest; the loser waits and is computed again later. So the oldest always advances, and everyone becomes the oldest.

use std::collections::{HashSet, VecDeque};

use crate::blocks::BlockPool;
use crate::model::BLOCK_TOKENS;
use crate::prefix::Link;
use crate::sequence::Sequence;

/// A part of the next step: these many tokens of the sequence at this place of [`Scheduler::running`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) running_index: usize,
    pub(crate) tokens: usize,
}

/// The sequences of one engine and their blocks.
pub(crate) struct Scheduler {
    pub(crate) pool: BlockPool,
    /// Sequences with a place, oldest first. Paused ones stay here while their blocks are not needed.
    pub(crate) running: Vec<Sequence>,
    /// Sequences without a place, oldest first.
    pub(crate) waiting: VecDeque<Sequence>,
    /// Times that a sequence lost its blocks, since last asked.
    pub(crate) preemptions: usize,
    slots: usize,
    step_tokens_max: usize,
    /// Whether the next step is for a suspect alone. Steps alternate while there are suspects.
    suspect_next: bool,
}

/// What is handed out while a step is put together.
struct Allowance {
    prompt_tokens: usize,
    /// Blocks of prompts that this step computes. A younger sequence with the same block next waits for it.
    in_work: HashSet<Link>,
}

impl Scheduler {
    pub(crate) fn new(kv_blocks: usize, slots: usize, step_tokens_max: usize) -> Self {
        Self {
            pool: BlockPool::new(kv_blocks),
            running: Vec::new(),
            waiting: VecDeque::new(),
            preemptions: 0,
            slots,
            step_tokens_max,
            suspect_next: false,
        }
    }

    /// Puts a sequence in its place in the queue, which is by age: one from a failed engine may be older than all.
    pub(crate) fn wait(&mut self, sequence: Sequence) {
        let serial = sequence.serial;
        let place = self.waiting.partition_point(|other| other.serial < serial);
        self.waiting.insert(place, sequence);
    }

    /// Lets go of sequences whose client went away, and says how many.
    pub(crate) fn drop_cancelled(&mut self) -> usize {
        let before = self.running.len() + self.waiting.len();
        let pool = &mut self.pool;
        self.running.retain(|sequence| {
            let stays = !sequence.outlet.is_closed();
            if !stays {
                pool.release_all(&sequence.block_table);
            }
            stays
        });
        self.waiting.retain(|sequence| !sequence.outlet.is_closed());
        before - self.running.len() - self.waiting.len()
    }

    /// Takes a sequence out and frees its blocks.
    pub(crate) fn remove(&mut self, serial: u64) -> Option<Sequence> {
        let sequence = self.running.remove(self.place(serial)?);
        self.pool.release_all(&sequence.block_table);
        Some(sequence)
    }

    /// Puts the next step together. Empty only if every sequence waits for its client.
    pub(crate) fn plan(&mut self) -> Vec<Turn> {
        for sequence in &mut self.running {
            sequence.paused = !sequence.outlet.has_room();
        }
        self.admit();
        let suspects = self.suspect_next;
        self.suspect_next = !suspects;
        let turns = self.turns(suspects);
        if turns.is_empty() { self.turns(!suspects) } else { turns }
    }

    /// Gives places to waiting sequences, oldest first, while there are slots and blocks.
    fn admit(&mut self) {
        let mut active = self.active().count();
        while active < self.slots {
            let ready = self.waiting.iter().position(|sequence| sequence.outlet.has_room());
            let Some(mut sequence) = ready.and_then(|place| self.waiting.remove(place)) else {
                return;
            };
            sequence.paused = false;
            if !self.make_room(&mut sequence) {
                self.wait(sequence);
                return;
            }
            let serial = sequence.serial;
            let place = self.running.partition_point(|other| other.serial < serial);
            self.running.insert(place, sequence);
            active += 1;
        }
    }

    /// Whether the pool can take this sequence beside the running ones. Adopts what is cached of it.
    ///
    /// There must be blocks for all of its tokens, for what the running ones have still to compute, and one more for
    /// each to grow: who is let in shall not be thrown out at once. Paused sequences give way.
    fn make_room(&mut self, sequence: &mut Sequence) -> bool {
        loop {
            adopt_cached(&mut self.pool, sequence);
            let grown = |sequence: &Sequence| sequence.blocks_lacking(sequence.len() + BLOCK_TOKENS);
            let wanted: usize = self.active().map(grown).sum::<usize>() + grown(sequence);
            if wanted <= self.pool.available() {
                return true;
            }
            if self.preempt(Victim::Paused) {
                continue;
            }
            if self.running.is_empty() {
                // Alone it fits: the dispatcher refused what never could.
                return true;
            }
            self.pool.release_all(&sequence.block_table);
            sequence.restart();
            return false;
        }
    }

    /// Gives turns, oldest first, to either the suspects, one at a time, or everyone else.
    fn turns(&mut self, suspects: bool) -> Vec<Turn> {
        let at_most = if suspects { 1 } else { self.slots };
        let candidates = self.active().filter(|sequence| sequence.is_suspect() == suspects);
        let serials: Vec<u64> = candidates.map(|sequence| sequence.serial).take(at_most).collect();
        let mut allowance = Allowance {
            prompt_tokens: self.step_tokens_max,
            in_work: HashSet::new(),
        };
        let mut given = Vec::new();
        for serial in serials {
            let tokens = self.give(serial, &mut allowance);
            given.extend(tokens.map(|tokens| (serial, tokens)));
        }
        // Places are final only now: giving may have taken places from younger sequences.
        let turn = |(serial, tokens)| {
            let running_index = self.place(serial)?;
            Some(Turn { running_index, tokens })
        };
        given.into_iter().filter_map(turn).collect()
    }

    /// How many tokens the sequence computes in this step, with the blocks for them; `None` if it must sit it out.
    fn give(&mut self, serial: u64, allowance: &mut Allowance) -> Option<usize> {
        // Others with the same prompt may have filled blocks since it was let in.
        let place = self.place(serial)?;
        adopt_cached(&mut self.pool, self.running.get_mut(place)?);
        let sequence = self.running.get(place)?;
        let is_prompt = sequence.remaining() > 1;
        let tokens = if is_prompt {
            sequence.remaining().min(allowance.prompt_tokens)
        } else {
            1
        };
        let next = self.next_link(sequence).filter(|_| is_prompt);
        if tokens == 0 || next.is_some_and(|link| allowance.in_work.contains(&link)) {
            return None;
        }
        let lacking = sequence.blocks_lacking(sequence.computed + tokens);
        while self.pool.available() < lacking {
            if !self.preempt(Victim::Paused) && !self.preempt(Victim::YoungerThan(serial)) {
                return None;
            }
        }
        // Its place may be another now: paused ones before it may be gone.
        let place = self.place(serial)?;
        let sequence = self.running.get_mut(place)?;
        for _ in 0..lacking {
            sequence.block_table.extend(self.pool.allocate());
        }
        if is_prompt {
            allowance.prompt_tokens -= tokens;
            allowance.in_work.extend(next);
        }
        Some(tokens)
    }

    /// The name of the block that the sequence computes next, if it has tokens to fill it and could have it from another.
    fn next_link(&self, sequence: &Sequence) -> Option<Link> {
        if !sequence.may_adopt() {
            return None;
        }
        let index = sequence.computed / BLOCK_TOKENS;
        let before = sequence.block_table.get(..index)?;
        let tokens = sequence.block_tokens(index)?;
        self.pool.link(sequence.cache_scope, before, tokens)
    }

    /// Notes that a sequence computed these many tokens more, and caches the blocks that became full.
    pub(crate) fn commit(&mut self, turn: Turn) {
        let Some(sequence) = self.running.get_mut(turn.running_index) else {
            return;
        };
        let full_before = sequence.computed / BLOCK_TOKENS;
        sequence.computed += turn.tokens;
        for index in full_before..sequence.computed / BLOCK_TOKENS {
            let Some(tokens) = sequence.block_tokens(index).copied() else {
                return;
            };
            let (before, rest) = sequence.block_table.split_at_mut(index);
            if let Some(block) = rest.first_mut() {
                *block = self.pool.seal(sequence.cache_scope, before, &tokens, *block);
            }
        }
    }

    /// Takes blocks and place from a sequence; `false` if there is no such one.
    fn preempt(&mut self, victim: Victim) -> bool {
        let place = self.running.iter().rposition(|sequence| match victim {
            Victim::Paused => sequence.paused,
            Victim::YoungerThan(serial) => sequence.serial > serial,
        });
        let Some(place) = place else {
            return false;
        };
        let mut sequence = self.running.remove(place);
        self.pool.release_all(&sequence.block_table);
        sequence.restart();
        self.preemptions += 1;
        self.wait(sequence);
        true
    }

    /// Running sequences whose client keeps up, oldest first.
    fn active(&self) -> impl Iterator<Item = &Sequence> {
        self.running.iter().filter(|sequence| !sequence.paused)
    }

    fn place(&self, serial: u64) -> Option<usize> {
        self.running
            .binary_search_by_key(&serial, |sequence| sequence.serial)
            .ok()
    }
}

/// Who shall give up its blocks.
#[derive(Clone, Copy)]
enum Victim {
    /// The youngest of those that wait for their client.
    Paused,
    /// The youngest, if it is younger than this one.
    YoungerThan(u64),
}

/// Takes over cached blocks after those that the sequence has computed. The last token is always computed: its logits or
/// state are wanted.
fn adopt_cached(pool: &mut BlockPool, sequence: &mut Sequence) {
    let whole_blocks = (sequence.len() - 1) / BLOCK_TOKENS;
    let table = &sequence.block_table;
    if sequence.computed != table.len() * BLOCK_TOKENS || !sequence.may_adopt() {
        return;
    }
    for index in table.len()..whole_blocks {
        let (scope, table) = (sequence.cache_scope, &sequence.block_table);
        let tokens = sequence.block_tokens(index);
        let Some(block) = tokens.and_then(|tokens| pool.adopt(scope, table, tokens)) else {
            return;
        };
        sequence.block_table.push(block);
        sequence.computed += BLOCK_TOKENS;
    }
}
