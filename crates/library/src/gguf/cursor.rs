//! Walks through the header: every length is checked against the file and the limits before anything is read or
//! allocated for it.

use super::error::Problem;
use super::limits::HEADER_BYTES_MAX;
use super::source::Source;

/// How much is read from the file at a time.
const WINDOW_BYTES: u64 = 1 << 18;

pub(super) struct Cursor<'a> {
    source: &'a Source,
    position: u64,
    window: Vec<u8>,
    window_start: u64,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(source: &'a Source) -> Cursor<'a> {
        Cursor {
            source,
            position: 0,
            window: Vec::new(),
            window_start: 0,
        }
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn file_bytes(&self) -> u64 {
        self.source.bytes()
    }

    /// How many bytes of the file are still ahead.
    pub(super) fn left(&self) -> u64 {
        self.source.bytes().saturating_sub(self.position)
    }

    /// Refuses if the file has fewer than `bytes` bytes left, or if the header would grow past its limit.
    pub(super) fn require(&self, what: &'static str, bytes: u64) -> Result<(), Problem> {
        let left = self.left();
        if bytes > left {
            return Err(Problem::Cut {
                what,
                position: self.position,
                needed: bytes,
                left,
            });
        }
        self.limit("bytes of header", self.position.saturating_add(bytes), HEADER_BYTES_MAX)
    }

    /// Refuses more than `allowed` of something.
    pub(super) fn limit(&self, what: &'static str, found: u64, allowed: u64) -> Result<(), Problem> {
        if found > allowed {
            return Err(Problem::Limit {
                what,
                found,
                allowed,
                position: self.position,
            });
        }
        Ok(())
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Problem> {
        let mut bytes = [0; N];
        self.fill(what, &mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, Problem> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, Problem> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A length of 8 bytes and as many bytes of UTF-8, at most `allowed`; `too_long` names the limit.
    pub(super) fn text(&mut self, what: &'static str, too_long: &'static str, allowed: u64) -> Result<String, Problem> {
        let length = self.u64(what)?;
        self.limit(too_long, length, allowed)?;
        self.require(what, length)?;
        let position = self.position;
        // The length is at most the limit just checked: it fits.
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        self.fill(what, &mut bytes)?;
        String::from_utf8(bytes).map_err(|_| Problem::NotUtf8 { what, position })
    }

    /// A text that names something, hence not empty.
    pub(super) fn name(&mut self, what: &'static str, too_long: &'static str, allowed: u64) -> Result<String, Problem> {
        let position = self.position;
        let name = self.text(what, too_long, allowed)?;
        if name.is_empty() {
            Err(Problem::NoName { what, position })
        } else {
            Ok(name)
        }
    }

    fn fill(&mut self, what: &'static str, into: &mut [u8]) -> Result<(), Problem> {
        let wanted = into.len() as u64;
        self.require(what, wanted)?;
        if wanted > WINDOW_BYTES {
            self.source.read_exact_at(into, self.position)?;
        } else {
            into.copy_from_slice(self.windowed(into.len())?);
        }
        self.position += wanted;
        Ok(())
    }

    /// The next `wanted` bytes, at most [`WINDOW_BYTES`] and known to exist, by way of the window.
    fn windowed(&mut self, wanted: usize) -> Result<&[u8], Problem> {
        let mut start = usize::try_from(self.position - self.window_start).unwrap_or(usize::MAX);
        if start.saturating_add(wanted) > self.window.len() {
            let bytes = WINDOW_BYTES.min(self.left());
            self.window.resize(usize::try_from(bytes).unwrap_or(usize::MAX), 0);
            self.source.read_exact_at(&mut self.window, self.position)?;
            self.window_start = self.position;
            start = 0;
        }
        Ok(self.window.get(start..start + wanted).unwrap_or_default())
    }
}
