//! The prefix cache: which blocks hold which tokens, so that equal beginnings are computed once.
//!
//! A cached block is named by its sixteen tokens and by the entry before it, back to the scope at the root. Entries are
//! numbered and never reuse a number, so a wrong hit is impossible, not improbable: hashes only find the place, equality
//! of all tokens and all ancestors decides. Scopes never meet: nobody can time another's prompts.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use crate::model::BLOCK_TOKENS;

/// The tokens of a full block.
pub(crate) type BlockTokens = [u32; BLOCK_TOKENS];

/// What a full block comes after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Parent {
    /// Nothing: the first block of a prompt in this scope.
    Scope(u64),
    /// The block with this entry.
    Entry(u64),
}

/// The full name of a block's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Link {
    pub(crate) parent: Parent,
    pub(crate) tokens: BlockTokens,
}

/// Which block holds what. Knows nothing of who uses a block: that is the pool's.
#[derive(Debug)]
pub(crate) struct PrefixCache<S = RandomState> {
    blocks: HashMap<Link, u32, S>,
    /// By block: its entry, if its content is known.
    entries: Vec<Option<Entry>>,
    next_number: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    number: u64,
    link: Link,
}

impl<S: BuildHasher + Default> PrefixCache<S> {
    pub(crate) fn new(blocks: usize) -> Self {
        Self {
            blocks: HashMap::default(),
            entries: vec![None; blocks],
            next_number: 0,
        }
    }

    /// The block that holds this, if any.
    pub(crate) fn find(&self, link: &Link) -> Option<u32> {
        self.blocks.get(link).copied()
    }

    /// What a block that follows `block` has as its parent; `None` if the content of `block` is not known.
    pub(crate) fn parent_at(&self, block: u32) -> Option<Parent> {
        let entry = self.entries.get(block as usize)?.as_ref()?;
        Some(Parent::Entry(entry.number))
    }

    /// Whether the content of `block` is known.
    pub(crate) fn holds(&self, block: u32) -> bool {
        matches!(self.entries.get(block as usize), Some(Some(_)))
    }

    /// Remembers what `block` holds. The caller looked: no block holds it yet.
    pub(crate) fn insert(&mut self, link: Link, block: u32) {
        self.remove(block);
        let number = self.next_number;
        if let Some(entry) = self.entries.get_mut(block as usize) {
            *entry = Some(Entry { number, link });
            self.next_number += 1;
            self.blocks.insert(link, block);
        }
    }

    /// Forgets what `block` holds.
    pub(crate) fn remove(&mut self, block: u32) {
        let entry = self.entries.get_mut(block as usize).and_then(Option::take);
        if let Some(entry) = entry {
            self.blocks.remove(&entry.link);
        }
    }

    /// Every cached block and what it holds.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Link)> {
        let entries = (0_u32..).zip(&self.entries);
        entries.filter_map(|(block, entry)| Some((block, &entry.as_ref()?.link)))
    }
}

#[cfg(test)]
mod tests {
    use std::hash::Hasher;

    use super::*;

    /// Every key collides.
    #[derive(Default)]
    struct OneHash;
    impl BuildHasher for OneHash {
        type Hasher = Self;
        fn build_hasher(&self) -> Self {
            Self
        }
    }
    impl Hasher for OneHash {
        fn finish(&self) -> u64 {
            0
        }
        fn write(&mut self, _: &[u8]) {}
    }

    fn link(parent: Parent, token: u32) -> Link {
        Link {
            parent,
            tokens: [token; BLOCK_TOKENS],
        }
    }

    #[test]
    fn colliding_hashes_never_give_anothers_block() {
        let mut cache = PrefixCache::<OneHash>::new(8);
        let root = Parent::Scope(1);
        cache.insert(link(root, 5), 0);
        cache.insert(link(root, 6), 1);
        let (after_5, after_6) = (cache.parent_at(0).unwrap(), cache.parent_at(1).unwrap());
        cache.insert(link(after_5, 7), 2);
        assert_eq!(cache.find(&link(root, 5)), Some(0));
        assert_eq!(cache.find(&link(root, 6)), Some(1));
        assert_eq!(cache.find(&link(after_5, 7)), Some(2));
        assert_eq!(cache.find(&link(after_6, 7)), None, "same tokens, other beginning");
        assert_eq!(cache.find(&link(root, 7)), None, "same tokens, other place");
        assert_eq!(cache.find(&link(Parent::Scope(2), 5)), None, "other scope");
    }

    #[test]
    fn a_block_reused_for_other_tokens_is_no_longer_found_by_the_old_ones() {
        let mut cache = PrefixCache::<RandomState>::new(2);
        let root = Parent::Scope(0);
        cache.insert(link(root, 1), 0);
        let child = link(cache.parent_at(0).unwrap(), 2);
        cache.insert(child, 1);
        cache.remove(0);
        cache.insert(link(root, 1), 0);
        let reborn = link(cache.parent_at(0).unwrap(), 2);
        assert_ne!(child, reborn, "numbers are not reused");
        assert_eq!(cache.find(&reborn), None);
    }
}
