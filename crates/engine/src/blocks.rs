//! The KV pool's bookkeeping: who uses which block, which are free, which are kept for their content.
//!
//! A block is in one of three states: used (by one sequence, or shared by several once it is full), idle (used by
//! nobody, content cached), free. Idle blocks are given away longest unused first.

use std::collections::BTreeMap;

use crate::model::BLOCK_TOKENS;
use crate::prefix::{BlockTokens, Link, Parent, PrefixCache};

/// Blocks that hold this many tokens.
pub(crate) fn blocks_for(tokens: usize) -> usize {
    tokens.div_ceil(BLOCK_TOKENS)
}

/// All blocks of one engine.
pub(crate) struct BlockPool {
    /// By block: how many sequences use it.
    users: Vec<u32>,
    free: Vec<u32>,
    /// Idle blocks by the time when they became so.
    idle: BTreeMap<u64, u32>,
    /// By block: its key in `idle`, if it is there.
    idle_since: Vec<u64>,
    now: u64,
    cache: PrefixCache,
}

impl BlockPool {
    pub(crate) fn new(blocks: usize) -> Self {
        let count = u32::try_from(blocks).unwrap_or(u32::MAX);
        Self {
            users: vec![0; count as usize],
            free: (0..count).rev().collect(),
            idle: BTreeMap::new(),
            idle_since: vec![0; count as usize],
            now: 0,
            cache: PrefixCache::new(count as usize),
        }
    }

    /// Blocks that can be had: free or idle.
    pub(crate) fn available(&self) -> usize {
        self.free.len() + self.idle.len()
    }

    /// Blocks in use.
    pub(crate) fn used(&self) -> usize {
        self.users.len() - self.available()
    }

    /// Blocks that nobody uses but whose content is kept.
    pub(crate) fn idle(&self) -> usize {
        self.idle.len()
    }

    /// A block with nothing in it, for one user; `None` if all are in use.
    pub(crate) fn allocate(&mut self) -> Option<u32> {
        let block = match self.free.pop() {
            Some(block) => block,
            None => {
                let (_, block) = self.idle.pop_first()?;
                self.cache.remove(block);
                block
            }
        };
        *self.users.get_mut(block as usize)? = 1;
        Some(block)
    }

    /// The cached block that holds `tokens` after the blocks of `table`, with one user more.
    pub(crate) fn adopt(&mut self, scope: u64, table: &[u32], tokens: &BlockTokens) -> Option<u32> {
        let block = self.cache.find(&self.link(scope, table, tokens)?)?;
        let users = self.users.get_mut(block as usize)?;
        *users += 1;
        if *users == 1 {
            let since = self.idle_since.get(block as usize)?;
            self.idle.remove(since);
        }
        Some(block)
    }

    /// The name of the block that holds `tokens` after the blocks of `table`; `None` after a forgotten block.
    pub(crate) fn link(&self, scope: u64, table: &[u32], tokens: &BlockTokens) -> Option<Link> {
        let parent = match table.last() {
            None => Parent::Scope(scope),
            Some(block) => self.cache.parent_at(*block)?,
        };
        Some(Link {
            parent,
            tokens: *tokens,
        })
    }

    /// Caches a block just filled with `tokens` after the blocks of `table`, and gives back the block to use from now
    /// on: an older one with the same content, if there is one.
    ///
    /// Equal blocks become one, so a block's ancestors are in use whenever it is, and age no faster than it does.
    pub(crate) fn seal(&mut self, scope: u64, table: &[u32], tokens: &BlockTokens, block: u32) -> u32 {
        if self.cache.holds(block) {
            return block;
        }
        let Some(link) = self.link(scope, table, tokens) else {
            return block;
        };
        match self.adopt(scope, table, tokens) {
            Some(older) => {
                self.release(block);
                older
            }
            None => {
                self.cache.insert(link, block);
                block
            }
        }
    }

    /// Takes one user from `block`.
    pub(crate) fn release(&mut self, block: u32) {
        let Some(users) = self.users.get_mut(block as usize) else {
            return;
        };
        debug_assert!(*users > 0, "block {block} is released without a user");
        *users = users.saturating_sub(1);
        if *users > 0 {
            return;
        }
        if !self.cache.holds(block) {
            self.free.push(block);
            return;
        }
        self.now += 1;
        self.idle.insert(self.now, block);
        if let Some(since) = self.idle_since.get_mut(block as usize) {
            *since = self.now;
        }
    }

    /// Releases a sequence's blocks, the last first: the end of a prompt is given away before its beginning.
    pub(crate) fn release_all(&mut self, table: &[u32]) {
        table.iter().rev().for_each(|block| self.release(*block));
    }

    /// Forgets what these blocks hold; their users keep them.
    pub(crate) fn forget(&mut self, table: &[u32]) {
        table.iter().for_each(|block| self.cache.remove(*block));
    }

    /// Panics if the three states do not add up.
    #[cfg(test)]
    pub(crate) fn check(&self, expected_users: &[u32]) {
        assert_eq!(self.users, expected_users, "users of each block");
        let unused = self.users.iter().filter(|users| **users == 0).count();
        assert_eq!(unused, self.available(), "blocks leaked");
        for block in &self.free {
            assert!(!self.cache.holds(*block), "free block {block} is cached");
            assert_eq!(self.users[*block as usize], 0);
        }
        for (since, block) in &self.idle {
            assert!(self.cache.holds(*block), "idle block {block} is not cached");
            assert_eq!(self.idle_since[*block as usize], *since);
            assert_eq!(self.users[*block as usize], 0);
        }
    }

    /// Every cached block and what it holds.
    #[cfg(test)]
    pub(crate) fn cached(&self) -> impl Iterator<Item = (u32, &Link)> {
        self.cache.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCOPE: u64 = 0;

    fn tokens(token: u32) -> BlockTokens {
        [token; BLOCK_TOKENS]
    }

    /// Fills one block after another with these tokens and seals each.
    fn fill(pool: &mut BlockPool, contents: &[u32]) -> Vec<u32> {
        let mut table = Vec::new();
        for token in contents {
            let block = pool.allocate().unwrap();
            let block = pool.seal(SCOPE, &table, &tokens(*token), block);
            table.push(block);
        }
        table
    }

    fn adopt(pool: &mut BlockPool, contents: &[u32]) -> Vec<u32> {
        let mut table = Vec::new();
        for token in contents {
            match pool.adopt(SCOPE, &table, &tokens(*token)) {
                Some(block) => table.push(block),
                None => break,
            }
        }
        table
    }

    #[test]
    fn released_blocks_are_found_again_until_the_room_is_needed() {
        let mut pool = BlockPool::new(3);
        let table = fill(&mut pool, &[1, 2]);
        pool.release_all(&table);
        assert_eq!((pool.used(), pool.idle(), pool.available()), (0, 2, 3));
        assert_eq!(adopt(&mut pool, &[1, 2, 3]), table);
        assert_eq!((pool.used(), pool.idle()), (2, 0));
        pool.release_all(&table);
        let taken: Vec<_> = (0..3).map(|_| pool.allocate().unwrap()).collect();
        assert_eq!(pool.allocate(), None);
        assert_eq!(adopt(&mut pool, &[1]), []);
        pool.release_all(&taken);
        pool.check(&[0, 0, 0]);
    }

    #[test]
    fn the_end_of_a_prompt_is_given_away_before_its_beginning() {
        let mut pool = BlockPool::new(3);
        let table = fill(&mut pool, &[1, 2, 3]);
        pool.release_all(&table);
        pool.allocate().unwrap();
        assert_eq!(adopt(&mut pool, &[1, 2, 3]), table[..2]);
    }

    #[test]
    fn the_longest_unused_prompt_is_given_away_first() {
        let mut pool = BlockPool::new(2);
        let (first, second) = (fill(&mut pool, &[1]), fill(&mut pool, &[2]));
        pool.release_all(&first);
        pool.release_all(&second);
        let again = adopt(&mut pool, &[1]);
        pool.release_all(&again);
        pool.allocate().unwrap();
        assert_eq!(adopt(&mut pool, &[2]), []);
        assert_eq!(adopt(&mut pool, &[1]), first);
    }

    #[test]
    fn equal_blocks_computed_side_by_side_become_one() {
        let mut pool = BlockPool::new(4);
        let (first, second) = (fill(&mut pool, &[1, 2]), fill(&mut pool, &[1, 2]));
        assert_eq!(first, second);
        assert_eq!(pool.used(), 2);
        pool.release_all(&first);
        assert_eq!(pool.used(), 2, "the second still uses both");
        pool.release_all(&second);
        pool.check(&[0; 4]);
    }

    #[test]
    fn forgotten_blocks_are_not_found_and_nothing_is_cached_after_them() {
        let mut pool = BlockPool::new(4);
        let mut table = fill(&mut pool, &[1, 2]);
        pool.forget(&table);
        let block = pool.allocate().unwrap();
        assert_eq!(pool.seal(SCOPE, &table, &tokens(3), block), block);
        table.push(block);
        assert_eq!(adopt(&mut pool, &[1]), []);
        pool.release_all(&table);
        assert_eq!((pool.idle(), pool.available()), (0, 4));
        pool.check(&[0; 4]);
    }
}
